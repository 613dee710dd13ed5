"""Features on disk: a protocol that runs twice on the same network and images reads what the first run computed.

Features (N, D) are found by a key over everything that decides them; a file that cannot be read counts as absent. They
are written as they are computed and read as mapped memory, so that a set larger than memory works.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import ODDITIES
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.files import atomic_path, writable_folder
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.digest import weights_digest

# Features (B, D), indices (B,) of their images, and index and oddity of odd ones.
Block = tuple[Tensor, Tensor, tuple[tuple[int, str], ...]]

_LAYOUT = "3"  # changes when a change of this package changes the features
_HEADER_BYTES = 512


def cache_path(
    model: nn.Module, spec: Preprocessing, fingerprint: str, device: str | torch.device, precision: str = "fp32"
) -> Path:
    """Name the file for these features.

    The key holds the weights and, as equal weights may sit in different networks (another pooling, another
    activation), what the network makes of one fixed input.

    Args:
        model: (B, C, H, W) to (B, D), in eval mode, on `device`.
        spec: The preprocessing.
        fingerprint: Fingerprint of the images.
        device: Where the features are computed.
        precision: What they are computed in.
    """
    key = f"{_LAYOUT} {spec} {fingerprint} {torch.device(device).type} {precision} {weights_digest(model)}"
    digest = sha256(key.encode())
    probe = torch.linspace(-2, 2, math.prod(spec.input_size), device=device)
    with torch.inference_mode():
        digest.update(model(probe.view(1, *spec.input_size)).float().cpu().numpy().tobytes())
    return cache_folder("features") / f"{digest.hexdigest()[:32]}.safetensors"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept of a source.

    Args:
        x: (N, D) float32, mapped.
        kept: (N,) int64, the images they belong to.
        odd: Images of each of `ODDITIES`, (K,) int64.
    """

    x: Tensor
    kept: Tensor
    odd: Mapping[str, Tensor]


def read(path: Path) -> Stored | None:
    """Map what was kept; None if that fails."""
    try:
        with safe_open(path, framework="pt") as file:
            x, kept = file.get_tensor("x"), file.get_tensor("kept")
            odd = {oddity: file.get_tensor(oddity) for oddity in ODDITIES}
    except (SafetensorError, OSError):
        return None
    return Stored(x, kept, odd) if x.ndim == 2 and len(x) == len(kept) else None


class FeatureWriter:
    """Appends rows to a safetensors file whose header is written last, into space that was left for it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._kept: list[Tensor] = []
        self._odd: dict[str, list[int]] = {oddity: [] for oddity in ODDITIES}
        self._width = 0
        file.write(bytes(8 + _HEADER_BYTES))

    def append(self, x: Tensor, kept: Tensor, odd: Sequence[tuple[int, str]] = ()) -> None:
        """Write features (B, D) float32 of the images `kept` (B,), and keep which of them are odd, and how."""
        self.odd(odd)
        self._width = x.shape[1]
        self._file.write(x.contiguous().numpy().data)
        self._kept.append(kept)

    def odd(self, found: Sequence[tuple[int, str]]) -> None:
        """Keep which images are odd, and how."""
        for index, oddity in found:
            self._odd[oddity].append(index)

    def close(self) -> None:
        """Write the indices and the header."""
        kept = torch.cat(self._kept) if self._kept else torch.empty(0, dtype=torch.int64)
        at = len(kept) * self._width * 4
        header = {"x": {"dtype": "F32", "shape": [len(kept), self._width], "data_offsets": [0, at]}}
        lists = {
            "kept": kept,
            **{oddity: torch.tensor(found, dtype=torch.int64) for oddity, found in self._odd.items()},
        }
        for name, indices in lists.items():
            self._file.write(indices.numpy().data)
            header[name] = {"dtype": "I64", "shape": [len(indices)], "data_offsets": [at, at + 8 * len(indices)]}
            at += 8 * len(indices)
        self._file.seek(0)
        self._file.write(_HEADER_BYTES.to_bytes(8, "little") + json.dumps(header).encode().ljust(_HEADER_BYTES))


@contextlib.contextmanager
def writer(path: Path) -> Iterator[FeatureWriter]:
    """Write features to `path`; whatever fails inside the block leaves no file.

    Raises:
        LowzooError: The disk is full.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("rb+") as file:
            out = FeatureWriter(file)
            yield out
            out.close()
    except LowzooError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        remedy = "Free some space or set LOWZOO_CACHE to a folder that has some"
        raise LowzooError(f"cannot keep the features: {error.message}", remedy) from error


def is_writable(path: Path) -> bool:
    """Tell whether `path` could be written; a cache that cannot be is no error, it only costs time later."""
    try:
        writable_folder(path.parent)
    except LowzooError:
        return False
    return True


def in_memory(blocks: Iterable[Block]) -> Stored:
    """What is made of images, kept by this process alone."""
    found = list(blocks)
    odd = {
        oddity: torch.tensor([index for _, _, odd in found for index, word in odd if word == oddity], dtype=torch.int64)
        for oddity in ODDITIES
    }
    if not found:
        return Stored(torch.empty(0, 0), torch.empty(0, dtype=torch.int64), odd)
    return Stored(torch.cat([x for x, _, _ in found]), torch.cat([kept for _, kept, _ in found]), odd)


def through_file(blocks: Iterable[Block], path: Path) -> Stored:
    """Write what is made of images, and map it.

    Raises:
        LowzooError: The disk is full, or what was written cannot be read.
    """
    with writer(path) as out:
        for block in blocks:
            out.append(*block)
    return written(path)


def written(path: Path) -> Stored:
    """Map what has just been written.

    Raises:
        LowzooError: It cannot be read.
    """
    found = read(path)
    if found is None:
        raise LowzooError(f"the features just written to {path} cannot be read", "Set LOWZOO_CACHE to another disk")
    return found
