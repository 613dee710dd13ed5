"""The place of a picture on a canvas of the input's size, as code of an app's language.

The same whole numbers as `lowzoo.preprocess.framing` gives: the expressions are its rules, in doubles as there.
"""

from dataclasses import dataclass

from lowzoo.preprocess.framing import border_colour, by_shorter_side, target_size
from lowzoo.zoo.resolve import Resolved


@dataclass(frozen=True)
class Words:
    """A language's functions: round to the nearest, of two the even one; round down; the larger; the smaller."""

    nearest: str
    down: str
    larger: str
    smaller: str
    one: str = "1"


_SWIFT = Words("rint", "floor", "max", "min")
_KOTLIN = Words("round", "floor", "maxOf", "minOf", "1.0")
_CPP = Words("std::nearbyint", "std::floor", "std::max", "std::min", "1.0")
_PYTHON = Words("round", "math.floor", "max", "min")
_JAVASCRIPT = Words("even", "Math.floor", "Math.max", "Math.min")


def swift(resolved: Resolved) -> str:
    """Draw `photo` (CGImage) into `context`."""
    _, height, width = resolved.input_size
    tall, wide = _sides(resolved, _SWIFT)
    fill = ", ".join(f"{name}: {value} / 255.0" for name, value in zip(_NAMES, _rgb(resolved), strict=True))
    quality = ".none" if resolved.interpolation == "nearest" else ".high"
    return (
        "let (h, w) = (Double(photo.height), Double(photo.width))  // photo: CGImage\n"
        f"let tall = {tall}, wide = {wide}\n"
        "func place(_ side: Double, _ wanted: Double) -> Double {\n"
        "    side < wanted ? floor((wanted - side) / 2) : -rint((side - wanted) / 2)\n"
        "}\n"
        f"let context = CGContext(data: nil, width: {width}, height: {height}, bitsPerComponent: 8, "
        f"bytesPerRow: {4 * width},\n"
        "    space: CGColorSpace(name: CGColorSpace.sRGB)!, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)!\n"
        f"context.interpolationQuality = {quality}\n"
        f"context.setFillColor(red: {fill.removeprefix('red: ')}, alpha: 1)\n"
        f"context.fill(CGRect(x: 0, y: 0, width: {width}, height: {height}))\n"
        "// Core Graphics counts rows from below.\n"
        f"context.draw(photo, in: CGRect(x: place(wide, {width}), y: {height} - place(tall, {height}) - tall, "
        "width: wide, height: tall))\n"
    )


def kotlin(resolved: Resolved) -> str:
    """Draw `photo` (Bitmap) onto `input` and read it into `pixels`."""
    _, height, width = resolved.input_size
    tall, wide = _sides(resolved, _KOTLIN)
    nearest = resolved.interpolation == "nearest"
    halved = (
        ""
        if nearest
        # The filter looks at four pixels, so it must not skip any.
        else "while (small.width >= 2 * wide && small.height >= 2 * tall)\n"
        "    small = Bitmap.createScaledBitmap(small, small.width / 2, small.height / 2, true)\n"
    )
    return (
        "val h = photo.height.toDouble(); val w = photo.width.toDouble()  // photo: Bitmap; import kotlin.math.*\n"
        f"val tall = ({tall}).toInt(); val wide = ({wide}).toInt()\n"
        "fun place(side: Int, wanted: Int) =\n"
        "    if (side < wanted) (wanted - side) / 2 else -round((side - wanted) / 2.0).toInt()\n"
        f"var small = photo\n{halved}"
        f"val left = place(wide, {width}); val top = place(tall, {height})\n"
        f"val input = Bitmap.createBitmap({width}, {height}, Bitmap.Config.ARGB_8888)\n"
        "Canvas(input).apply {\n"
        f"    drawRGB({', '.join(map(str, _rgb(resolved)))})\n"
        "    drawBitmap(small, null, Rect(left, top, left + wide, top + tall), "
        f"{'null' if nearest else 'Paint(Paint.FILTER_BITMAP_FLAG)'})\n"
        "}\n"
        f"val pixels = IntArray({width} * {height})\n"
        f"input.getPixels(pixels, 0, {width}, 0, 0, {width}, {height})\n"
    )


def javascript(resolved: Resolved) -> str:
    """Draw `photo` (ImageBitmap) onto a canvas and read it into `rgba`."""
    _, height, width = resolved.input_size
    tall, wide = _sides(resolved, _JAVASCRIPT)
    smooth = (
        "imageSmoothingEnabled = false" if resolved.interpolation == "nearest" else 'imageSmoothingQuality = "high"'
    )
    return (
        "const { height: h, width: w } = photo;  // an ImageBitmap\n"
        "const even = (x) => Math.round(x) - (x % 1 === 0.5 && Math.round(x) % 2);\n"
        f"const tall = {tall}, wide = {wide};\n"
        "const place = (side, wanted) =>\n"
        "  side < wanted ? Math.floor((wanted - side) / 2) : -even((side - wanted) / 2);\n"
        f'const context = new OffscreenCanvas({width}, {height}).getContext("2d");\n'
        f"context.{smooth};\n"
        f'context.fillStyle = "rgb({", ".join(map(str, _rgb(resolved)))})";\n'
        f"context.fillRect(0, 0, {width}, {height});\n"
        f"context.drawImage(photo, place(wide, {width}), place(tall, {height}), wide, tall);\n"
        f"const rgba = context.getImageData(0, 0, {width}, {height}).data;\n"
    )


def cpp(resolved: Resolved) -> str:
    """Put `photo` (cv::Mat of RGB) onto `input`."""
    _, height, width = resolved.input_size
    tall, wide = _sides(resolved, _CPP)
    way = "INTER_NEAREST" if resolved.interpolation == "nearest" else "INTER_AREA"
    return (
        "const double h = photo.rows, w = photo.cols;  // photo: cv::Mat, three bytes a pixel, RGB\n"
        f"const int tall = {tall}, wide = {wide};\n"
        "const auto place = [](int side, int wanted) {\n"
        "    return side < wanted ? (wanted - side) / 2 : -int(std::nearbyint((side - wanted) / 2.0));\n"
        "};\n"
        f"const cv::Point at(place(wide, {width}), place(tall, {height}));\n"
        f"cv::Mat small, input({height}, {width}, CV_8UC3, cv::Scalar({', '.join(map(str, _rgb(resolved)))}));\n"
        f"cv::resize(photo, small, cv::Size(wide, tall), 0, 0, cv::{way});\n"
        "const cv::Rect seen = cv::Rect(at, small.size()) & cv::Rect(cv::Point(0, 0), input.size());\n"
        "small(seen - at).copyTo(input(seen));\n"
    )


def python(resolved: Resolved) -> str:
    """Put `photo` (a PIL image) onto `canvas`."""
    channels, height, width = resolved.input_size
    tall, wide = _sides(resolved, _PYTHON)
    mode, colour = ("L", _rgb(resolved)[0]) if channels == 1 else ("RGB", _rgb(resolved))
    imported = "import math\n\n" if "math." in tall + wide else ""
    return (
        f"{imported}import numpy as np\nfrom PIL import Image\n\n"
        f'photo = Image.open(photo_file).convert("{mode}")\n'
        "w, h = photo.size\n"
        f"tall, wide = {tall}, {wide}\n\n\n"
        "def place(side, wanted):\n"
        "    return (wanted - side) // 2 if side < wanted else -round((side - wanted) / 2)\n\n\n"
        f'canvas = Image.new("{mode}", ({width}, {height}), {colour})\n'
        f"small = photo.resize((wide, tall), Image.Resampling.{resolved.interpolation.upper()})\n"
        f"canvas.paste(small, (place(wide, {width}), place(tall, {height})))\n"
    )


_NAMES = ("red", "green", "blue")


def _rgb(resolved: Resolved) -> tuple[int, ...]:
    colour = border_colour(resolved)
    return colour if len(colour) == 3 else colour[:1] * 3


def _sides(resolved: Resolved, words: Words) -> tuple[str, str]:
    """Expressions for the height and the width that a picture of h x w is scaled to."""
    height, width = target_size(resolved)
    if resolved.crop_mode == "squash":
        return (f"{height}.0", f"{width}.0") if words in (_SWIFT, _KOTLIN) else (str(height), str(width))
    if by_shorter_side(resolved):
        by = f"{words.smaller}(h, w)"
        return f"{words.down}({height} * h / {by})", f"{words.down}({height} * w / {by})"
    ratio = f"{words.larger if resolved.crop_mode == 'border' else words.smaller}(h / {height}, w / {width})"
    # A line of pixels stays a line.
    tall, wide = (f"{words.larger}({words.one}, {words.nearest}({side} / {ratio}))" for side in "hw")
    return tall, wide
