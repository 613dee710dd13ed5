"""Images in WebDataset tars and in tars of folders on this machine, read by index.

The headers of every tar are read once and kept under the cache folder, by the content of the tar. A damaged shard does
not stop anything: what it still holds is used, and what it has lost is counted as pictures that cannot be read, up to
the length of the other shards, so that the fraction of a set that may be lost has a meaning.
"""

import contextlib
import json
import zipfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import progress_bar
from lowzoo.data.labels.members import Members, parts_of, picked, the_only_part
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.found import some_of
from lowzoo.data.reading.identity import UNREADABLE, file_digests
from lowzoo.data.reading.names import name_at
from lowzoo.data.reading.open_files import forget_files, read_at
from lowzoo.data.reading.reader import Opened
from lowzoo.data.stores.tar_index import TarIndex, index_tar
from lowzoo.data.stores.unpacked import unpacked_tar
from lowzoo.io.cache_folder import cache_folder
from lowzoo.io.files import atomic_path

_ARRAYS = ("ends", "offsets", "sizes", "labels")
# Changes when a change of the rules changes what is found in a tar.
_VERSION = "index 3"


@dataclass(frozen=True, slots=True, eq=False)
class TarReader:
    """Reads picture i of a list of tars.

    Args:
        files: The tars in order.
        shown: What each is called in messages: the compressed file where it has been unpacked.
        digests: Digest of each tar's content.
        damage: What is wrong with each, empty for a whole one.
        shard_ends: Pictures up to the end of each tar.
        packed: Member names, see `pack_names`; empty for a lost picture.
        ends: (N,) int64, where each name ends in `packed`.
        offsets: (N,) int64, first byte in the tar.
        sizes: (N,) int64, bytes; -1 for a lost picture.
    """

    files: tuple[str, ...]
    shown: tuple[str, ...]
    digests: tuple[bytes, ...]
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
        return read_at(self.files[shard], int(self.offsets[index]), size, self.where(index), "tar")

    def where(self, index: int) -> str:
        """Name picture `index` by its tar and member."""
        name = self.name(index)
        file = self.shown[bisect_right(self.shard_ends, index)]
        return f"{file}:{name}" if name else file

    def name(self, index: int) -> str:
        """The member of picture `index`; empty for a lost one."""
        return name_at(self.packed, self.ends, index)

    def fingerprint(self) -> str:
        """Digest the content of the tars, and which parts of it are pictures."""
        digest = sha256(b"".join(self.digests))
        for array in (self.offsets, self.sizes):
            digest.update(array.tobytes())
        return digest.hexdigest()


def open_tars(files: Sequence[Path], what: str) -> Opened:
    """Open tars that are one split by their names.

    Raises:
        LowzooError: As `tar_members`, or they are divided themselves.
    """
    parts, found = parts_of(tar_members(files), what, root=files[0])
    return replace(the_only_part(parts, what)(), found=found)


def tar_members(files: Sequence[Path]) -> Members:
    """List tars of pictures, with a number or a name in `.cls`, or in `.json` under "label", or in folders.

    A lost picture counts for the first class, which nobody sees, as it cannot be read.

    Raises:
        LowzooError: A tar cannot be opened or unpacked, or none of them holds a picture.
    """
    forget_files()
    shown = [str(file) for file in files]
    paths = [unpacked_tar(Path(file)) for file in files]
    digests = file_digests([str(path) for path in paths], title="checking tars")
    lengths = [path.stat().st_size if path.exists() else 0 for path in paths]
    with progress_bar("indexing tars, bytes", sum(lengths)) as advance:
        indices = [_stored_index(*of, advance) for of in zip(paths, digests, lengths, strict=True)]
    if not any((index.sizes >= 0).any() for index in indices):
        damaged = next(
            (f": {name} {index.damage}" for name, index in zip(shown, indices, strict=True) if index.damage), ""
        )
        raise LowzooError(f"no picture in {len(paths)} tars{damaged}", "Name tars with members such as 0001.jpg")
    if any((index.labels != "").any() for index in indices):
        indices = [_without_unlabelled(index) if index.damage else index for index in indices]
    lost = _lost(indices)
    reader = _reader(paths, shown, digests, indices, lost)
    classes = [
        text for index, more in zip(indices, lost, strict=True) for text in (*index.labels.tolist(), *[""] * more)
    ]
    left_out: Counter[str] = Counter()
    for index in indices:
        left_out.update(dict(index.left_out))
    broken = [i for i, index in enumerate(indices) if index.damage]
    notes = []
    if broken:
        gone = sum(lost[i] + int((indices[i].sizes < 0).sum()) for i in broken)
        notes.append(
            f"{len(broken)} of {len(files)} tars are damaged and have lost about {gone} pictures: "
            f"{some_of(f'{shown[i]} ({indices[i].damage})' for i in broken)}"
        )
    notes += dict.fromkeys(note for index in indices for note in index.notes)
    return Members(
        names=[reader.name(i) for i in range(len(reader))],
        pick=picked(reader),
        classes=classes if any(classes) else None,
        lost=reader.sizes < 0,
        left_out=left_out,
        notes=notes,
    )


def _reader(
    paths: Sequence[Path], shown: Sequence[str], digests: Sequence[bytes], indices: list[TarIndex], lost: list[int]
) -> TarReader:
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
    return TarReader(
        files=tuple(map(str, paths)),
        shown=tuple(shown),
        digests=tuple(digests),
        damage=tuple(index.damage for index in indices),
        shard_ends=tuple(np.cumsum([len(ends) for ends, _, _ in pieces]).tolist()),
        packed=b"".join(index.packed for index in indices),
        ends=np.concatenate([none, *(ends + start for (ends, _, _), start in zip(pieces, starts, strict=False))]),
        offsets=np.concatenate([offsets for _, offsets, _ in pieces]),
        sizes=np.concatenate([sizes for _, _, sizes in pieces]),
    )


def _lost(indices: list[TarIndex]) -> list[int]:
    """How many more pictures each damaged tar has probably held: at least one, and as many as an intact one holds."""
    whole = [len(index) for index in indices if not index.damage] or [0]
    usual = int(np.median(whole))
    return [max(0 if (index.sizes < 0).any() else 1, usual - len(index)) if index.damage else 0 for index in indices]


def _without_unlabelled(index: TarIndex) -> TarIndex:
    """Count a picture whose label went with the damage as lost: it would leave the whole set without labels."""
    return replace(index, sizes=np.where(index.labels == "", -1, index.sizes))


def _stored_index(path: Path, digest: bytes, length: int, advance: Callable[[int], None]) -> TarIndex:
    """The index of a tar of so many bytes, from the cache where it is there."""
    file = cache_folder("tars") / f"{sha256(_VERSION.encode() + digest).hexdigest()[:24]}.npz"
    if digest != UNREADABLE:
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(file) as stored:
            ends, offsets, sizes, labels = (stored[name] for name in _ARRAYS)
            left_out, notes = json.loads(str(stored["said"]))
            index = TarIndex(
                stored["packed"].tobytes(),
                ends,
                offsets,
                sizes,
                labels,
                str(stored["damage"]),
                tuple((kind, count) for kind, count in left_out),
                tuple(notes),
            )
            advance(length)
            return index
    index = index_tar(path, advance)
    # Without a place for it, the index is made again next time.
    with contextlib.suppress(LowzooError), atomic_path(file) as temporary, temporary.open("wb") as out:
        arrays = {name: getattr(index, name) for name in (*_ARRAYS, "damage")}
        said = json.dumps([index.left_out, index.notes])
        np.savez(out, packed=np.frombuffer(index.packed, np.uint8), said=said, **arrays)
    return index
