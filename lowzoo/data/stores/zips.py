"""Images in a zip archive, read without unpacking it.

`zipfile` reads the table at the archive's end. Each picture is then read by its place in the file: `zipfile` keeps one
position for all readers, which threads and forked data workers would move under each other's hands.
"""

import bz2
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.members import Members, picked
from lowzoo.data.pixels.decode import MAX_PIXELS, BadImage
from lowzoo.data.reading.found import some_of
from lowzoo.data.reading.identity import file_digests
from lowzoo.data.reading.kinds import kind_of_member, member_name
from lowzoo.data.reading.names import name_at, pack_names
from lowzoo.data.reading.open_files import forget_files, read_at

SUFFIX = ".zip"
# No file of a picture that may be decoded is larger: 8 bytes a pixel, uncompressed.
_MOST_BYTES = 8 * MAX_PIXELS
_BEYOND = 2**60
_ENCRYPTED = 0x1
_HEADER = struct.Struct("<4s22xHH")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_LINK = "links"


@dataclass(frozen=True, slots=True, eq=False)
class ZipReader:
    """Reads picture i of an archive.

    Args:
        file: The archive.
        packed: Member names, see `pack_names`.
        ends: (N,) int64, where each name ends in `packed`.
        headers: (N,) int64, first byte of each one's own header.
        packed_sizes: (N,) int64, bytes in the archive.
        sizes: (N,) int64, bytes of the picture.
        methods: (N,) int64, how each is compressed.
        checksums: (N,) int64, CRC-32 of the picture.
        digest: Digest of the archive.
    """

    file: str
    packed: bytes
    ends: NDArray[np.int64]
    headers: NDArray[np.int64]
    packed_sizes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    methods: NDArray[np.int64]
    checksums: NDArray[np.int64]
    digest: bytes

    def __len__(self) -> int:
        return len(self.ends)

    def encoded(self, index: int) -> bytes:
        """Unpack the bytes of picture `index`; `BadImage` where the archive is damaged, or it would fill the memory."""
        size, where = int(self.sizes[index]), self.where(index)
        if size > _MOST_BYTES:
            raise BadImage(where, f"it would unpack to {size} bytes")
        data = _unpacked(
            self.file,
            int(self.headers[index]),
            int(self.packed_sizes[index]),
            int(self.methods[index]),
            size + 1,
            where,
        )
        if len(data) != size or zlib.crc32(data) != int(self.checksums[index]):
            raise BadImage(where, "the archive is damaged there")
        return data

    def where(self, index: int) -> str:
        """Name picture `index` by archive and member."""
        return f"{self.file}:{name_at(self.packed, self.ends, index)}"

    def fingerprint(self) -> str:
        """Digest the content of the archive, and which parts of it are pictures."""
        return sha256(self.digest + self.headers.tobytes()).hexdigest()


def zip_members(path: Path) -> Members:
    """List the pictures of an archive.

    Raises:
        LowzooError: It is damaged or holds no picture, or pictures in it are encrypted.
    """
    forget_files()
    entries = _entries(path)
    left_out: Counter[str] = Counter()
    pictures: list[zipfile.ZipInfo] = []
    names: list[str] = []
    for entry in entries:
        # Archives of some programs for Windows divide folders as that system does.
        name = member_name(entry.filename.replace("\\", "/"))
        mode = entry.external_attr >> 16
        if entry.is_dir() or not name or (entry.filename.endswith("\\") and not entry.file_size):
            continue
        if stat.S_ISLNK(mode):
            left_out[_LINK] += 1
            continue
        kind = kind_of_member(name, _head_of(path, entry))
        if not kind and entry.compress_type not in _METHODS:
            kind = f"pictures compressed by method {entry.compress_type}, which is not read"
        if kind:
            left_out[kind] += 1
        else:
            pictures.append(entry)
            names.append(name)
    encrypted = [entry.filename for entry in pictures if entry.flag_bits & _ENCRYPTED]
    if encrypted:
        raise LowzooError(
            f"{len(encrypted)} pictures in {path} are encrypted: {some_of(encrypted)}", "Unpack it with its password"
        )
    if not pictures:
        found = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common(8))
        raise LowzooError(f"no picture in {path} ({found or 'it is empty'})", "Name an archive that holds images")
    (digest,) = file_digests([str(path)], title="checking archives")
    # What a hostile archive states may not fit; beyond the archive's end it is all the same.
    facts = np.array(
        [
            (
                min(entry.header_offset, _BEYOND),
                min(entry.compress_size, _BEYOND),
                min(entry.file_size, _BEYOND),
                entry.compress_type,
                entry.CRC,
            )
            for entry in pictures
        ],
        np.int64,
    )
    headers, packed_sizes, sizes, methods, checksums = facts.T.copy()
    packed, ends = pack_names([name.encode("utf-8", "surrogateescape") for name in names])
    reader = ZipReader(str(path), packed, ends, headers, packed_sizes, sizes, methods, checksums, digest)
    again = [name for name, count in Counter(names).items() if count > 1]
    notes = [f"{len(again)} names stand more than once in {path.name}; all are read: {some_of(again)}"] if again else []
    return Members(names, picked(reader), left_out=left_out, notes=notes)


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except OSError as error:
        raise LowzooError(f"cannot read {path}: {error.strerror or error}", "Check its permissions") from error
    # Besides its own error, the module raises struct.error, ValueError, NotImplementedError... on hostile bytes.
    except Exception as error:
        raise LowzooError(f"cannot read {path} as a zip archive: {error}", "Name a complete archive") from error


def _head_of(path: Path, entry: zipfile.ZipInfo) -> Callable[[int], bytes]:
    def head(count: int) -> bytes:
        if entry.flag_bits & _ENCRYPTED:
            return b""
        try:
            # bzip2 gives nothing before the end of a block of up to 900,000 bytes.
            enough = 1 << 20 if entry.compress_type == zipfile.ZIP_BZIP2 else 4 * count + 256
            size = min(entry.compress_size, enough)
            return _unpacked(str(path), entry.header_offset, size, entry.compress_type, count, entry.filename)
        except BadImage:
            return b""

    return head


def _unpacked(file: str, header: int, packed_size: int, method: int, most: int, where: str) -> bytes:
    """The first `most` bytes of a member, or all; more than that is never held in memory."""
    mark, name, extra = _HEADER.unpack(read_at(file, header, _HEADER.size, where, "archive"))
    if mark != b"PK\3\4":
        raise BadImage(where, "the archive is damaged there")
    if method == zipfile.ZIP_STORED:
        packed_size = min(packed_size, most)
    data = read_at(file, header + _HEADER.size + name + extra, packed_size, where, "archive")
    try:
        if method == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most)
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(data, most)
    except (zlib.error, OSError, ValueError, EOFError) as error:
        raise BadImage(where, f"the archive is damaged there: {error}") from error
    return data
