"""Detections of a whole set: image by image, each at its own size, so that no other image has a part in them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from lowzoo.base.progress import progress_bar
from lowzoo.data.pixels.decode import BadImage
from lowzoo.detection.network.detector import Backbone, Detector
from lowzoo.detection.scoring import as_coco
from lowzoo.detection.sets.annotated import AnnotatedSet
from lowzoo.detection.sets.batches import fitted, normalised, padded, read_pixels, resized
from lowzoo.system.processes import Processes

# Detections in COCO's form, and a message for the number of each image that cannot be read.
Detected = tuple[list[dict[str, Any]], dict[int, str]]


def detect_together(among: Processes, images: int, detected: Callable[[Sequence[int]], Detected]) -> Detected:
    """Detections in all images of a set, in every process; each finds those in its part.

    Args:
        among: The processes.
        images: How many images the set has.
        detected: Finds objects in the images of these numbers.

    Raises:
        LowzooError: Of `detected` in any process; in all of them.
    """
    merged: dict[int, str] = {}
    # Every so many images, as the large ones of a set often lie together.
    parts = among.collect(lambda: detected(range(among.rank, images, among.count)))
    for _, unreadable in parts:
        merged |= unreadable
    return sorted((each for found, _ in parts for each in found), key=lambda each: each["image_id"]), merged


@torch.no_grad()
def detect_all(
    detector: Detector,
    backbone: Backbone,
    data: AnnotatedSet,
    indices: Iterable[int],
    *,
    shorter: int,
    longest: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    wanted: bool = True,
) -> Detected:
    """Find objects in some images of a set.

    Args:
        detector: On its device; left in eval mode.
        backbone: How pictures are normalised for it.
        data: The set.
        indices: Of the images.
        shorter: Shorter side in pixels that images are brought to.
        longest: Most pixels of the other.
        device: Where it computes.
        autocast: Makes the context in which it computes.
        wanted: Whether progress is shown.

    Returns:
        Detections in COCO's form, and a message for the number of each image that cannot be read.
    """
    detector.eval()
    found: list[dict[str, Any]] = []
    unreadable: dict[int, str] = {}
    chosen = list(indices)
    with progress_bar("detecting", len(chosen), wanted=wanted) as advance:
        for index in chosen:
            advance(1)
            try:
                pixels = read_pixels(data, index)
            except BadImage as error:
                unreadable[index] = error.message
                continue
            size = fitted(pixels.shape[0], pixels.shape[1], shorter, longest)
            canvas = torch.zeros((1, *padded([size], detector.shape.divisor), 3), dtype=torch.uint8)
            canvas[0, : size[0], : size[1]] = torch.from_numpy(resized(pixels, size).copy())
            images = normalised(canvas.to(device), [size], backbone.mean, backbone.std)
            with autocast():
                (detections,) = detector(images, [size])
            found += as_coco(detections, size, data, index)
    return found, unreadable
