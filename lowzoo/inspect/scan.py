"""One pass over all pictures: each is read, hashed and decoded once, for every fact that is reported.

Threads do it, as reading, decoding and the network all let go of Python's lock: no picture travels between processes,
and no shared memory is needed. Each thread runs the network on its own few pictures with one core.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.data.pixels.decode import BadImage, decode
from lowzoo.data.source import ImageSource
from lowzoo.features.inputs import normalise_batch
from lowzoo.inspect.header import Header, read_header
from lowzoo.preprocess.transform import Preprocessing, to_uint8_input
from lowzoo.system.cores import usable_cores
from lowzoo.zoo.resolve import Resolved

_BATCH = 32
# Side of the small grey copies by which alike pictures are compared.
SMALL = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """What one picture is.

    Args:
        digest: sha256 of its bytes; empty where there are none.
        header: What it says of itself, None where it says nothing.
        size: (H, W) in pixels, turned where its camera says so; None for a picture that cannot be read.
        oddities: Words of `lowzoo.data.pixels.decode.ODDITIES`.
        reason: Why it cannot be read, else empty.
    """

    digest: bytes
    header: Header | None
    size: tuple[int, int] | None
    oddities: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scanned:
    """All pictures of a source, in its order.

    Args:
        pictures: N of them.
        small: (N, 16, 16) uint8, grey copies; zeros where a picture cannot be read.
        features: (N, D) float32; zeros where a picture cannot be read; None without a network.
    """

    pictures: tuple[Picture, ...]
    small: NDArray[np.uint8]
    features: Tensor | None


def squashed(resolved: Resolved) -> Preprocessing:
    """The network's own preprocessing, but without a crop: what is alike has to be alike up to its borders."""
    return dataclasses.replace(Preprocessing.of(resolved), crop_mode="squash", crop_pct=1.0)


def scan(source: ImageSource, resolved: Resolved | None, *, workers: int = 0, progress: bool = True) -> Scanned:
    """Look at every picture.

    Args:
        source: The pictures.
        resolved: The network that gives features, on the CPU; None for none.
        workers: Threads; 0 takes all cores.
        progress: Show a bar on stderr.

    Raises:
        LowzooError: A feature is not a finite number.
    """
    spec = None if resolved is None else squashed(resolved)
    starts = range(0, len(source), _BATCH)

    def look(start: int) -> tuple[list[Picture], NDArray[np.uint8], Tensor | None]:
        return _look(source, range(start, min(start + _BATCH, len(source))), resolved, spec)

    threads, before = workers or usable_cores(), torch.get_num_threads()
    pictures: list[Picture] = []
    small: list[NDArray[np.uint8]] = []
    features: list[Tensor] = []
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        with progress_bar(f"looking at {source.name}", len(source), wanted=progress) as advance:
            for seen, copies, x in pool.map(look, starts):
                pictures += seen
                small.append(copies)
                features += [] if x is None else [x]
                advance(len(seen))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
    return Scanned(tuple(pictures), np.concatenate(small), torch.cat(features) if features else None)


def _look(
    source: ImageSource, indices: Sequence[int], resolved: Resolved | None, spec: Preprocessing | None
) -> tuple[list[Picture], NDArray[np.uint8], Tensor | None]:
    pictures: list[Picture] = []
    small = np.zeros((len(indices), SMALL, SMALL), np.uint8)
    inputs: list[NDArray[np.uint8]] = []
    kept: list[int] = []
    for place, (picture, pixels) in enumerate(_each(source, indices)):
        pictures.append(picture)
        if pixels is None:
            continue
        small[place] = _small(pixels)
        if spec is not None:
            inputs.append(to_uint8_input(pixels, spec))
            kept.append(place)
    if resolved is None or spec is None:
        return pictures, small, None
    with torch.inference_mode():
        # A batch of nothing but broken files still has to say how wide features are.
        batch = np.stack(inputs or [np.zeros((*spec.input_size[1:], 3), np.uint8)])
        x = resolved.model(normalise_batch(torch.from_numpy(batch), spec, "cpu")).float()
    if not torch.isfinite(x).all():
        raise LowzooError(
            f"{resolved.name} gives features that are no finite numbers", "Name another model, or give --no-features"
        )
    features = torch.zeros(len(indices), x.shape[1])
    features[kept] = x[: len(kept)]
    return pictures, small, features


def _each(source: ImageSource, indices: Sequence[int]) -> Iterator[tuple[Picture, NDArray[np.uint8] | None]]:
    for index in indices:
        try:
            data = source.encoded(index)
        except BadImage as error:
            yield Picture(b"", None, None, reason=_reason(error)), None
            continue
        digest, header = sha256(data).digest(), read_header(data)
        try:
            decoded = decode(data, source.where(index), source.rules)
        except BadImage as error:
            yield Picture(digest, header, None, reason=_reason(error)), None
            continue
        yield Picture(digest, header, decoded.size, decoded.oddities), decoded.pixels


def _reason(error: BadImage) -> str:
    return error.message.rpartition("is not a readable image: ")[2]


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = Image.fromarray(pixels).resize((SMALL, SMALL), Image.Resampling.BOX).convert("L")
    return np.asarray(grey)
