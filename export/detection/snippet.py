"""Python that finds objects in a photograph of any size: the file sees it at its own, and boxes come back to it."""

from collections.abc import Sequence


def detector_snippet(file: str, size: tuple[int, int], mean: Sequence[float], *, suppressed: bool, masks: bool) -> str:
    """Code that prints the objects of `photo.jpg`, boxes in its own pixels.

    Args:
        file: Name of the file.
        size: (height, width) of the picture that it takes.
        mean: Mean colour, which fills the rest.
        suppressed: Whether the last suppression is in the graph.
        masks: Whether it gives masks.
    """
    height, width = size
    colour = tuple(round(255 * value) for value in mean)
    names = "boxes, scores, classes, masks" if masks else "boxes, scores, classes" if suppressed else "boxes, scores"
    found = (
        "for box, score, number in zip(boxes, scores, classes):\n"
        "    if score >= 0.5:\n"
        "        print(int(number), float(score), box * back)"
        if suppressed
        else "for row, number in zip(*np.nonzero(scores >= 0.5)):  # then drop what overlaps one of its class by 0.5\n"
        "    print(int(number), float(scores[row, number]), boxes[row, number] * back)"
    )
    return (
        "# Python; boxes are x0, y0, x1, y1 in pixels of the photograph\n"
        "import numpy as np\n"
        "import onnxruntime\n"
        "from PIL import Image, ImageOps\n\n"
        'photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")\n'
        f"scale = min({width} / photo.width, {height} / photo.height)\n"
        "sides = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))\n"
        f'image = Image.new("RGB", ({width}, {height}), {colour})\n'
        "image.paste(photo.resize(sides, Image.Resampling.BILINEAR))\n"
        f"session = onnxruntime.InferenceSession({file!r})\n"
        f'{names} = session.run(None, {{"image": np.asarray(image)[None]}})\n'
        "back = np.array([photo.width / sides[0], photo.height / sides[1]] * 2)\n"
        f"{found}"
    )
