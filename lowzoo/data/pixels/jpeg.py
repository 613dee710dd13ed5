"""What the header of a JPEG says, read without a decoder."""

from dataclasses import dataclass

from lowzoo.data.pixels.orientation import UPRIGHT, Orientation, orientation_in, swaps_sides

# Cameras and web servers append a few zero bytes or line ends after the end-of-image marker.
_TAIL_BYTES = 32
# Adobe's marker says of components that they are the colours themselves.
_AS_THEY_ARE = 0


@dataclass(frozen=True, slots=True)
class PlainJpeg:
    """A whole baseline or progressive JPEG with 1 or 3 components.

    Args:
        height: In pixels, as it is stored.
        width: In pixels, as it is stored.
        orientation: The orientation 1 to 8 that the camera noted.
        components: 1 (grey) or 3.
        bits: Bits a component.
        chroma: Whether its three components are luma and chroma, as libjpeg decides it, and not the colours themselves.
    """

    height: int
    width: int
    orientation: int
    components: int
    bits: int
    chroma: bool

    def turn(self, orientation: Orientation) -> int:
        """How it has to be turned: as noted, or not at all."""
        return self.orientation if orientation == "exif" else UPRIGHT

    def size(self, orientation: Orientation) -> tuple[int, int]:
        """Height and width once it is turned."""
        swapped = swaps_sides(self.turn(orientation))
        return (self.width, self.height) if swapped else (self.height, self.width)


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """What the header says of a whole baseline or progressive JPEG with 1 or 3 components; None for all others.

    libjpeg fills a truncated file with grey and only prints a warning, so a file without its end marker is none.
    """
    if data[:3] != b"\xff\xd8\xff" or b"\xff\xd9" not in data[-_TAIL_BYTES:]:
        return None
    at, orientation, jfif, adobe = 2, UPRIGHT, False, None
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        content = data[at + 4 : at + 2 + length] if marker in (0xE0, 0xE1, 0xEE) else b""
        if marker == 0xE0 and content[:5] == b"JFIF\0":
            jfif = True
        if marker == 0xE1 and content[:6] == b"Exif\0\0":
            orientation = orientation_in(content)
        if marker == 0xEE and content[:5] == b"Adobe" and len(content) >= 12:
            adobe = content[11]
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            components = data[at + 9]
            if components not in (1, 3) or not height or not width:
                return None
            names = data[at + 10 : at + 10 + 3 * components : 3]
            chroma = components == 3 and (jfif or (adobe != _AS_THEY_ARE if adobe is not None else names != b"RGB"))
            return PlainJpeg(height, width, orientation, components, data[at + 4], chroma)
        if marker == 0xDA or (0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return None
        at += 2 + length
    return None
