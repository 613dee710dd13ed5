"""Which files are pictures: by their extension, and by their first bytes where the name has none.

Only formats of pixels stand here. Pillow would hand PostScript to another program, and opens some formats that it
cannot load; neither is done, whatever a file is called.
"""

import functools
import re

_EXTENSIONS = {
    "JPEG": "jpg jpeg jpe jfif jif pjpeg pjp mpo",
    "PNG": "png apng",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp dib",
    "TIFF": "tif tiff",
    "AVIF": "avif avifs",
    "HEIF": "heic heif hif heics heifs",
    "JPEG2000": "jp2 j2k jpf jpx j2c jpc",
    "PPM": "pbm pgm ppm pnm pfm",
    "TGA": "tga icb vda vst",
    "PCX": "pcx",
    "SGI": "sgi rgb rgba bw",
    "SUN": "ras",
    "PSD": "psd",
    "QOI": "qoi",
    "DDS": "dds",
    "ICO": "ico",
    "ICNS": "icns",
    "FITS": "fits fit",
}
# What Pillow may use to decode, by its own names.
DECODERS = (*_EXTENSIONS, "MPO", "DIB")
PICTURE_EXTENSIONS = frozenset(name for names in _EXTENSIONS.values() for name in names.split())

# What a file begins with that has no extension: offset and bytes.
_BEGINNINGS = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"qoif"),
    (0, b"8BPS"),
    (0, b"\0\0\0\x0cjP  \r\n"),
    (0, b"\xff\x4f\xff\x51"),
)
_WIDE_BEGINNINGS = (b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"SIMPLE", b"PF", b"Pf", b"Py")
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_PIXMAP = re.compile(rb"P[1-6]\s(#|\d)")
HEAD_BYTES = 32
# `cat.12`, `Mr. Whiskers` or `scan.2024-01-05` end in no extension.
_LOOKS_LIKE_EXTENSION = re.compile(r"(?=.*[a-z])[a-z0-9_~+-]{1,12}")


def extension(name: str) -> str:
    """The extension of a file name in lower case, without its dot; empty where what follows the last dot is none."""
    stem, dot, last = name.rstrip(" ").rpartition(".")
    last = last.lower()
    return last if dot and stem.strip(".") and _LOOKS_LIKE_EXTENSION.fullmatch(last) else ""


def is_picture_name(name: str) -> bool:
    """Tell whether a file name has the extension of a picture."""
    return extension(name) in PICTURE_EXTENSIONS


def starts_like_picture(head: bytes) -> bool:
    """Tell whether a file's first `HEAD_BYTES` bytes are those of a picture."""
    if any(head.startswith(beginning, at) for at, beginning in _BEGINNINGS):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in _BRANDS
    # BM alone begins many a text: the size of the header follows 14 bytes in.
    if head[:2] == b"BM":
        return head[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0")
    return _PIXMAP.match(head) is not None


def may_be_wide(head: bytes) -> bool:
    """Tell by a file's first `HEAD_BYTES` bytes whether its pixels may have more than 8 bits."""
    if head.startswith(b"\x89PNG"):
        return head[24:25] == b"\x10"
    return head.startswith(_WIDE_BEGINNINGS) or _PIXMAP.match(head) is not None


@functools.lru_cache(maxsize=1)
def register_heif() -> bool:
    """Teach Pillow HEIC, where the extra `heic` is installed; returns whether it is."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def missing_decoder(head: bytes) -> str:
    """What to say of a file that nothing installed here decodes; empty where that is not the reason."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"avif", b"avis"):
        return "AVIF needs Pillow 11.3 or newer (pip install 'lowzoo[heic]')"
    if brand in _BRANDS and not register_heif():
        return "HEIC needs pillow-heif (pip install 'lowzoo[heic]')"
    return ""
