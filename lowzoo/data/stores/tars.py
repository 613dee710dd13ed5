"""Images in WebDataset tars on this machine, read by index.

The headers of every tar are read once and kept under the cache folder. A damaged shard does not stop anything: what it
still holds is used, and what it has lost is counted as pictures that cannot be read, up to the length of the other
shards, so that the share of a set that may be lost has a meaning.
"""

import contextlib
import functools
import io
import os
import zipfile
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.cache import cache_folder
from lowzoo.data.decode import BadImage
from lowzoo.data.found import Found
from lowzoo.data.identity import file_digests
from lowzoo.data.names import name_at
from lowzoo.data.progress import progress_bar
from lowzoo.data.reader import Opened
from lowzoo.data.stores.tar_index import TarIndex, index_name, index_tar
from lowzoo.errors import LowzooError
from lowzoo.files import atomic_path

_ARRAYS = ("ends", "offsets", "sizes", "labels")


@dataclass(frozen=True, slots=True, eq=False)
class TarReader:
    """Reads picture i of a list of tars.

    Args:
        files: The tars in order.
        damage: What is wrong with each, empty for a whole one.
        shard_ends: Pictures up to the end of each tar.
        packed: Member names, see `pack_names`; empty for a lost picture.
        ends: (N,) int64, where each name ends in `packed`.
        offsets: (N,) int64, first byte in the tar.
        sizes: (N,) int64, bytes; -1 for a lost picture.
    """

    files: tuple[str, ...]
    damage: tuple[str, ...]
    shard_ends: tuple[int, ...]
    packed: bytes
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def encoded(self, index: int) -> bytes:
        """Read the bytes of picture `index`; `BadImage` where the tar has lost them."""
        shard, size = bisect_right(self.shard_ends, index), int(self.sizes[index])
        if size < 0:
            raise BadImage(self.where(index), self.damage[shard])
        try:
            data = os.pread(_file(self.files[shard]).fileno(), size, int(self.offsets[index]))
        except OSError as error:
            raise BadImage(self.where(index), error.strerror or str(error)) from error
        if len(data) < size:
            raise BadImage(self.where(index), "the tar has become shorter")
        return data

    def where(self, index: int) -> str:
        """Name picture `index` by its tar and member."""
        name = name_at(self.packed, self.ends, index)
        file = self.files[bisect_right(self.shard_ends, index)]
        return f"{file}:{name}" if name else file

    def fingerprint(self) -> str:
        """Digest the content of the tars, and which parts of it are pictures."""
        digest = sha256(b"".join(file_digests(self.files, title="checking tars")))
        for array in (self.offsets, self.sizes):
            digest.update(array.tobytes())
        return digest.hexdigest()


def open_tars(files: Iterable[Path]) -> Opened:
    """Open tars whose samples are pictures, with a number or a name in `.cls`, or in `.json` under "label", or none.

    Where classes are numbers they have no names. A lost picture counts for the first class, which nobody sees, as it
    cannot be read.

    Raises:
        LowzooError: A tar cannot be opened or is compressed, or none of them holds a picture.
    """
    paths = [Path(file) for file in files]
    with progress_bar("indexing tars", len(paths)) as advance:
        indices = []
        for path in paths:
            indices.append(_stored_index(path))
            advance(1)
    if not any((index.sizes >= 0).any() for index in indices):
        damaged = next((f": {path} {index.damage}" for path, index in zip(paths, indices, strict=True)), "")
        raise LowzooError(f"no picture in {len(paths)} tars{damaged}", "Name tars with members such as 0001.jpg")
    if any((index.labels != "").any() for index in indices):
        indices = [_without_unlabelled(index) if index.damage else index for index in indices]
    lost = _lost(indices)
    none = np.zeros(0, np.int64)
    pieces = [
        (
            np.concatenate([index.ends, np.full(more, index.ends[-1] if len(index) else 0)]),
            np.concatenate([index.offsets, np.zeros(more, np.int64)]),
            np.concatenate([index.sizes, np.full(more, -1)]),
        )
        for index, more in zip(indices, lost, strict=True)
    ]
    starts = np.cumsum([0, *(len(index.packed) for index in indices)])
    reader = TarReader(
        files=tuple(map(str, paths)),
        damage=tuple(index.damage for index in indices),
        shard_ends=tuple(np.cumsum([len(ends) for ends, _, _ in pieces]).tolist()),
        packed=b"".join(index.packed for index in indices),
        ends=np.concatenate([none, *(ends + start for (ends, _, _), start in zip(pieces, starts, strict=False))]),
        offsets=np.concatenate([offsets for _, offsets, _ in pieces]),
        sizes=np.concatenate([sizes for _, _, sizes in pieces]),
    )
    texts = np.concatenate(
        [np.append(index.labels, np.full(more, "")) for index, more in zip(indices, lost, strict=True)]
    )
    return Opened(reader, *_numbers(texts, reader.sizes >= 0), Found.of(len(reader)))


def _lost(indices: list[TarIndex]) -> list[int]:
    """How many more pictures each damaged tar has probably held: at least one, and as many as an intact one holds."""
    whole = [len(index) for index in indices if not index.damage] or [0]
    usual = int(np.median(whole))
    return [max(0 if (index.sizes < 0).any() else 1, usual - len(index)) if index.damage else 0 for index in indices]


def _without_unlabelled(index: TarIndex) -> TarIndex:
    """Count a picture whose label went with the damage as lost: it would leave the whole set without labels."""
    return replace(index, sizes=np.where(index.labels == "", -1, index.sizes))


def _numbers(
    texts: NDArray[np.str_], readable: NDArray[np.bool_]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...] | None]:
    given = texts[readable]
    if (given == "").all():
        return None, None
    numbers = np.zeros(len(texts), np.int64)
    try:
        numbers[readable] = np.where(given == "", "-1", given).astype(np.int64)
    except ValueError:
        names = sorted(set(given.tolist()) - {""})
        number = {"": -1} | {name: i for i, name in enumerate(names)}
        numbers[readable] = [number[text] for text in given.tolist()]
        return numbers, tuple(names)
    return numbers, None


def _stored_index(path: Path) -> TarIndex:
    """The index of a tar, from the cache where it is there."""
    try:
        file = cache_folder("tars") / index_name(path)
    except OSError as error:
        raise LowzooError(f"cannot read {path}: {error.strerror}", "Name tars that exist") from error
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(file) as stored:
        ends, offsets, sizes, labels = (stored[name] for name in _ARRAYS)
        return TarIndex(stored["packed"].tobytes(), ends, offsets, sizes, labels, str(stored["damage"]))
    index = index_tar(path)
    # Without a place for it, the index is made again next time.
    with contextlib.suppress(LowzooError), atomic_path(file) as temporary, temporary.open("wb") as out:
        arrays = {name: getattr(index, name) for name in (*_ARRAYS, "damage")}
        np.savez(out, packed=np.frombuffer(index.packed, np.uint8), **arrays)
    return index


@functools.lru_cache(maxsize=256)
def _file(path: str) -> io.FileIO:
    """Keep tars open until they fall out of this cache; every read gives its position, so a fork may share them."""
    return open(path, "rb", buffering=0)
