"""Features that several processes make: each of a part of the images, and all have all of them in the end.

A process keeps its part in a file of its own beside the cache, or in memory where there is no cache. The parts then go
to all in blocks; the first process of each machine writes the one file of the cache, which the others map. So neither a
disk that machines share nor the memory for several copies of the features is needed.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.data.source import ImageSource
from lowzoo.features.cache import Block, Stored, in_memory, through_file, writer, written
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.system.processes import Processes
from lowzoo.zoo.digest import weights_digest


def require_same_inputs(
    among: Processes,
    source: ImageSource,
    network: nn.Module,
    spec: Preprocessing,
    device: str | torch.device,
    precision: str,
    **options: Any,
) -> None:
    """Refuse to divide the images of a source among processes that read different ones, or by different networks.

    Args:
        among: The processes.
        source: The images.
        network: The network.
        spec: The preprocessing.
        device: Where the network is.
        precision: What features are computed in.
        **options: Whatever else has to be the same, by its name in the plural.

    Raises:
        LowzooError: Something differs, in all processes.
    """
    if among.count == 1:
        return
    facts = {
        **source.facts(),
        "weights": weights_digest(network)[:16],
        "preprocessings": spec,
        "devices": torch.device(device).type,
        "precisions": precision,
        **options,
    }
    among.require_same(facts)


def together(among: Processes, blocks: Iterable[Block], path: Path | None, check: Callable[[], None]) -> Stored:
    """The features of all processes, by the number of the process.

    Args:
        among: The processes.
        blocks: What this one makes; drawn once.
        path: Where the cache keeps them all; None keeps them in memory.
        check: Raises a LowzooError in all processes where what was made is of no use; nothing is then kept.

    Raises:
        LowzooError: What `check` raises, what a process met on the way, or the disk is full.
    """
    if among.count == 1:
        checked = _then(blocks, check)
        return through_file(checked, path) if path else in_memory(checked)
    with contextlib.ExitStack() as stack:
        if path is not None:
            own = path.with_name(f"{path.stem}.part-{among.rank}-of-{among.count}.safetensors")
            stack.callback(own.unlink, missing_ok=True)
            part = among.attempt(lambda: through_file(blocks, own))
        else:
            part = among.attempt(lambda: in_memory(blocks))
        among.attempt(check)
        # Small beside the features: a number an image.
        kept = among.gather_rows(part.kept)
        odd = {oddity: torch.cat(among.gather(found)) for oddity, found in part.odd.items()}
        x = among.attempt(lambda: _delivered(among, part, kept, odd, path))
    return among.attempt(lambda: Stored(x, kept, odd) if path is None else written(path))


def _then(blocks: Iterable[Block], check: Callable[[], None]) -> Iterator[Block]:
    yield from blocks
    check()


def _delivered(among: Processes, part: Stored, kept: Tensor, odd: Mapping[str, Tensor], path: Path | None) -> Tensor:
    """Take part in sending all features (N, D) to all; empty where a file takes them."""
    blocks = among.blocks(part.x)
    if path is None:
        found = list(blocks)
        return torch.cat(found) if found else part.x
    try:
        if among.writes:
            with writer(path) as out:
                at = 0
                for block in blocks:
                    out.append(block, kept[at : at + len(block)])
                    at += len(block)
                out.odd([(index, oddity) for oddity, indices in odd.items() for index in indices.tolist()])
    finally:
        # Whatever happens here, the others go on sending and waiting.
        for _ in blocks:
            pass
    return part.x[:0]
