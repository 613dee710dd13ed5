"""Where the samples of a WebDataset tar lie: one pass over its headers, which hops over the pixels.

A sample is a run of members that share their path up to the first dot of the file name, for example `7/0012.jpg`,
`7/0012.cls` and `7/0012.json`. With its offset and size every picture can be read directly, so tars are shuffled,
resumed and shared out as exactly as files are. The headers are read here and not by `tarfile` because that takes a
damaged header for the end: a broken shard would shrink in silence.
"""

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.data.names import pack_names
from lowzoo.errors import LowzooError

PICTURES = frozenset(("jpg", "jpeg", "png", "webp"))
_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_LONGEST_TEXT = 1 << 20
_LABEL_KEYS = ("label", "cls", "class", "class_id", "target")


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
    """

    packed: bytes
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.str_]
    damage: str

    def __len__(self) -> int:
        return len(self.ends)


def index_tar(path: Path) -> TarIndex:
    """Read the headers of a tar; whatever is damaged is described, not raised.

    Raises:
        LowzooError: The file cannot be opened, or is compressed.
    """
    try:
        with path.open("rb") as file:
            return _Scan(file.fileno(), path).run()
    except OSError as error:
        raise LowzooError(f"cannot read {path}: {error.strerror}", "Check its permissions") from error


class _Scan:
    def __init__(self, file: int, path: Path) -> None:
        self.file, self.path = file, path
        self.size = os.fstat(file).st_size
        self.samples: list[tuple[bytes, int, int, str]] = []
        self.damage = "" if self.size else "it is empty"
        # The sample that is being put together: key, (name, offset, size) of its picture, label.
        self.key = b""
        self.picture: tuple[bytes, int, int] | None = None
        self.label = ""

    def run(self) -> TarIndex:
        at = 0
        # From the extended headers that stand before a member.
        name: bytes | None = None
        size: int | None = None
        while at + _BLOCK <= self.size:
            block = os.pread(self.file, _BLOCK, at)
            if block == _ZEROS:
                at += _BLOCK
                continue
            if not _is_header(block):
                if block.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")) and not at:
                    raise LowzooError(f"{self.path} is compressed, so single pictures cannot be read", "Unpack it")
                self.damage = self.damage or f"no tar header at byte {at}"
                at = self._next_header(at + _BLOCK)
                continue
            kind, length = block[156:157], _number(block[124:136]) if size is None else size
            start = at + _BLOCK
            at = start + -(-length // _BLOCK) * _BLOCK
            if kind in (b"L", b"x"):
                text = os.pread(self.file, min(length, _LONGEST_TEXT), start)
                if kind == b"L":
                    name = text.rstrip(b"\0")
                else:
                    fields = _pax(text)
                    name, size = fields.get(b"path", name), _decimal(fields.get(b"size"))
                continue
            if kind in (b"0", b"\0", b"7"):
                self._member(name if name is not None else _name(block), start, length)
            if kind not in (b"g", b"K"):
                name = size = None
            if start + length > self.size:
                self.damage = self.damage or f"it is cut off at byte {self.size}"
        if at < self.size and os.pread(self.file, _BLOCK, at).strip(b"\0"):
            self.damage = self.damage or f"it is cut off at byte {self.size}"
        self._flush()
        return self._result()

    def _member(self, name: bytes, start: int, length: int) -> None:
        folder, slash, base = name.rpartition(b"/")
        stem, _, extension = base.partition(b".")
        if not stem:
            return  # the hidden files that some systems add
        key = folder + slash + stem
        if key != self.key:
            self._flush()
            self.key = key
        kind = extension.decode("ascii", "replace").lower()
        whole = start + length <= self.size
        if kind in PICTURES and self.picture is None:
            self.picture = name, start, length if whole else -1
        elif kind in ("cls", "json") and not self.label and whole and length <= _LONGEST_TEXT:
            self.label = _label(os.pread(self.file, length, start), kind)

    def _flush(self) -> None:
        if self.picture is not None:
            self.samples.append((*self.picture, self.label))
        self.picture, self.label = None, ""

    def _next_header(self, at: int) -> int:
        """Go on after damage: members begin at multiples of a block."""
        while at + _BLOCK <= self.size:
            if _is_header(os.pread(self.file, _BLOCK, at)):
                break
            at += _BLOCK
        return at

    def _result(self) -> TarIndex:
        return TarIndex(
            *pack_names([name for name, _, _, _ in self.samples]),
            np.array([offset for _, offset, _, _ in self.samples], np.int64),
            np.array([size for _, _, size, _ in self.samples], np.int64),
            np.array([label for _, _, _, label in self.samples], np.str_),
            self.damage,
        )


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
        return int(field.strip(b"\0 ") or b"0", 8)
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


def _label(text: bytes, kind: str) -> str:
    decoded = text.decode("utf-8", "replace").strip()
    if kind == "cls":
        return decoded
    try:
        fields = json.loads(decoded)
    except ValueError:
        return ""
    if not isinstance(fields, dict):
        return ""
    return next((str(fields[key]) for key in _LABEL_KEYS if isinstance(fields.get(key), (int, str))), "")


def index_name(path: Path) -> str:
    """Name the stored index of a tar: it changes with the file's place, size and time of change."""
    status = path.stat()
    return sha256(f"1 {path.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:24] + ".npz"
