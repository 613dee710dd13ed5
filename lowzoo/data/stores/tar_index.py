"""Where the members of a tar lie: one pass over its headers, which hops over the pixels.

With its offset and size every picture can be read directly, so tars are shuffled, resumed and shared out as exactly as
files are. The headers are read here and not by `tarfile` because that takes a damaged header for the end: a broken
shard would shrink in silence. What belongs together is found in `lowzoo.data.stores.tar_samples`.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.reading.found import some_of
from lowzoo.data.reading.kinds import BROKEN_LINK, NO_FILE, kind_of_member, member_name
from lowzoo.data.reading.names import pack_names
from lowzoo.data.stores.tar_samples import LABELS, NO_TEXT, Label, Picture, group, label_of

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_LONGEST_TEXT = 1 << 20
# Bytes between two words on how far it is.
_TELLING = 1 << 24
_LINK, _SYMBOLIC = b"1", b"2"
SPARSE, LINK = "sparse files", "links"
# Links that lead to links that lead...
_MOST_LINKS = 16


@dataclass(frozen=True, slots=True)
class TarIndex:
    """The pictures of one tar, in its order.

    Args:
        packed: Their member names, see `pack_names`.
        ends: (N,) int64, where each name ends in `packed`.
        offsets: (N,) int64, first byte in the tar.
        sizes: (N,) int64, bytes; -1 for a picture that is cut off.
        labels: (N,) text of each label, empty where there is none.
        damage: What is wrong with the tar; empty for a whole one.
        left_out: How many members of each other kind there are.
        notes: What a reader should know.
    """

    packed: bytes
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.str_]
    damage: str
    left_out: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ends)


def index_tar(path: Path, advance: Callable[[int], None] = lambda _: None) -> TarIndex:
    """Read the headers of a tar; whatever is damaged is described, not raised.

    Args:
        path: The tar.
        advance: Told now and then how many bytes more it has come.

    Raises:
        LowzooError: The file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return _Scan(file.fileno(), advance).run()
    except OSError as error:
        raise LowzooError(f"cannot read {path}: {error.strerror}", "Check its permissions") from error


class _Scan:
    def __init__(self, file: int, advance: Callable[[int], None]) -> None:
        self.file, self._advance, self._told = file, advance, 0
        self.size = os.fstat(file).st_size
        self.damage = "" if self.size else "it is empty"
        self.pictures: list[Picture] = []
        self.labels: list[Label] = []
        self.left_out: Counter[str] = Counter()
        self.no_text: list[str] = []
        # Name, name of the target, and where among the pictures it stands.
        self.links: list[tuple[str, str, int]] = []

    def run(self) -> TarIndex:
        at = 0
        # From the extended headers that stand before a member.
        fields: dict[bytes, bytes] = {}
        while at + _BLOCK <= self.size:
            self._tell(at)
            block = os.pread(self.file, _BLOCK, at)
            if block == _ZEROS:
                at += _BLOCK
                continue
            if not _is_header(block):
                self.damage = self.damage or f"no tar header at byte {at}"
                at = self._next_header(at + _BLOCK)
                continue
            stated = _decimal(fields.get(b"size"))
            kind, length = block[156:157], _number(block[124:136]) if stated is None else stated
            start = at + _BLOCK
            if kind in (_LINK, _SYMBOLIC):
                length = 0
            sparse = kind == b"S" or any(name.startswith(b"GNU.sparse") for name in fields)
            if kind == b"S":
                start = self._behind_sparse_map(block, start)
            at = start + -(-length // _BLOCK) * _BLOCK
            if kind in (b"L", b"K", b"x", b"X"):
                text = os.pread(self.file, min(length, _LONGEST_TEXT), start)
                if kind in (b"L", b"K"):
                    fields[b"path" if kind == b"L" else b"linkpath"] = text.rstrip(b"\0")
                else:
                    fields |= _pax(text)
            elif kind != b"g":
                name = member_name(os.fsdecode(fields.get(b"path") or _name(block)))
                target = os.fsdecode(fields.get(b"linkpath") or block[157:257].split(b"\0", 1)[0])
                # Before POSIX, a folder was a file whose name ends in a slash.
                folder = kind == b"5" or (fields.get(b"path") or block[:100].rstrip(b"\0")).endswith(b"/")
                if not folder:
                    self._member(name, kind, target, start, length, sparse)
                fields = {}
            if start + length > self.size:
                self.damage = self.damage or f"it is cut off at byte {self.size}"
        if at < self.size and os.pread(self.file, _BLOCK, at).strip(b"\0"):
            self.damage = self.damage or f"it is cut off at byte {self.size}"
        self._tell(self.size, last=True)
        return self._result()

    def _tell(self, at: int, *, last: bool = False) -> None:
        if at - self._told >= _TELLING or last:
            self._advance(at - self._told)
            self._told = at

    def _member(self, name: str, kind: bytes, target: str, start: int, length: int, sparse: bool) -> None:
        if kind in (_LINK, _SYMBOLIC):
            self.links.append((name, target if kind == _LINK else f"{name.rpartition('/')[0]}/{target}", len(self)))
        elif kind in (b"3", b"4", b"6"):
            self.left_out[NO_FILE] += 1
        elif sparse:
            self.left_out[SPARSE] += 1
        elif kind in (b"D", b"V", b"M", b"N"):  # a tar's own notes on folders, volumes and long names
            pass
        else:
            self._file(name, start, length)

    def __len__(self) -> int:
        return len(self.pictures)

    def _file(self, name: str, start: int, length: int) -> None:
        whole = start + length <= self.size
        extension = kind_of_member(name, lambda count: os.pread(self.file, min(count, length), start))
        if not extension:
            self.pictures.append(Picture(name, start, length if whole else -1))
            return
        if extension in LABELS and whole and length <= _LONGEST_TEXT:
            try:
                text = label_of(os.pread(self.file, length, start), extension, name)
            except LowzooError as error:
                self.no_text.append(error.message)
                return
            if text:
                self.labels.append(Label(name, text))
                return
        self.left_out[extension] += 1

    def _follow_links(self) -> None:
        """Put links to pictures and labels among them, as a folder that was unpacked would have them."""
        if not self.links:
            return
        pictures = {picture.name: picture for picture in self.pictures}
        labels = {label.name: label for label in self.labels}
        targets = {name: _resolved(target) for name, target, _ in self.links}
        places = [((place, 1), picture) for place, picture in enumerate(self.pictures)]
        for name, target, place in self.links:
            end = _resolved(target)
            for _ in range(_MOST_LINKS):
                if end not in targets or end in pictures or end in labels:
                    break
                end = targets[end]
            kind = kind_of_member(name, lambda count: b"")
            if end in labels and kind in LABELS:
                self.labels.append(Label(name, labels[end].text))
            elif end in pictures and kind_of_member(name, lambda count: b"\xff\xd8\xff") == "":
                places.append(((place, 0), Picture(name, pictures[end].offset, pictures[end].size)))
            else:
                self.left_out[LINK if end in pictures or end in labels else BROKEN_LINK] += 1
        # A link stands in front of the member that followed it.
        places.sort(key=lambda item: item[0])
        self.pictures = [picture for _, picture in places]

    def _next_header(self, at: int) -> int:
        """Go on after damage: members begin at multiples of a block."""
        while at + _BLOCK <= self.size:
            self._tell(at)
            if _is_header(os.pread(self.file, _BLOCK, at)):
                break
            at += _BLOCK
        return at

    def _behind_sparse_map(self, block: bytes, start: int) -> int:
        more, at = block[482:483], start
        while more not in (b"", b"\0"):
            more = os.pread(self.file, _BLOCK, at)[504:505]
            at += _BLOCK
        return at

    def _result(self) -> TarIndex:
        self._follow_links()
        samples = group(self.pictures, self.labels)
        if self.no_text:
            self.left_out[NO_TEXT] += len(self.no_text)
            samples.notes.append(f"{len(self.no_text)} labels cannot be read: {some_of(self.no_text)}")
        chosen = [self.pictures[i] for i in samples.chosen]
        return TarIndex(
            *pack_names([os.fsencode(picture.name) for picture in chosen]),
            np.array([picture.offset for picture in chosen], np.int64),
            np.array([picture.size for picture in chosen], np.int64),
            np.array(samples.labels, np.str_),
            self.damage,
            tuple((self.left_out + samples.left_out).items()),
            tuple(samples.notes),
        )


def _resolved(target: str) -> str:
    """The member that a link means: `..` leads to the folder above, and never out of the archive."""
    parts: list[str] = []
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _is_header(block: bytes) -> bool:
    stated = block[148:156].strip(b"\0 ")
    try:
        return int(stated, 8) == sum(block) - sum(block[148:156]) + 8 * 32
    except ValueError:
        return False


def _name(block: bytes) -> bytes:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's binary form for 8 GB and more
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    try:
        return max(0, int(field.strip(b"\0 ") or b"0", 8))
    except ValueError:
        return 0


def _pax(text: bytes) -> dict[bytes, bytes]:
    """Parse records of the form LENGTH KEY=VALUE, each with a line end."""
    fields = {}
    while text:
        length, _, _ = text.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(text):
            break
        record, text = text[len(length) + 1 : int(length) - 1], text[int(length) :]
        key, _, value = record.partition(b"=")
        fields[key] = value
    return fields


def _decimal(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
