"""Images with boxes, and masks where they have some: what every layout becomes."""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource

# Of a box that is clipped to its image, less than this is left of a side where it lies outside.
_LEAST_SIDE = 1e-3
# Fraction of the boxes that may leave their image by mistakes of those who drew them.
_FEW = 0.05
_TEXT_DIGITS = 16
# Largest number that an annotation may hold; float64 counts whole ones up to here.
_MOST = 2**53


@dataclass(frozen=True)
class Annotated:
    """What is known of one image.

    Args:
        number: Its number in the annotation file.
        height: In pixels.
        width: In pixels.
        boxes: (M, 4) float32 corners x0, y0, x1, y1 within the image.
        labels: (M,) int64 class numbers from 1 on.
        crowd: (M,) bool, a region of many objects, or an object marked difficult: it is no object that has to be found,
            and detections in it count neither way. `trained_on` says which of them are trained on.
        areas: (M,) float64 area that decides between small, medium and large.
        segments: A mask of each object as COCO writes them (polygons, or run lengths); None where there are none.
        given_boxes: (M, 4) float64 x, y, width, height as they are written.
        trained_on: (M,) bool, which objects are trained on; all but crowds if None.
    """

    number: int
    height: int
    width: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    segments: tuple[Any, ...] | None
    given_boxes: NDArray[np.float64]
    trained_on: NDArray[np.bool_] | None = None

    @property
    def objects(self) -> NDArray[np.int64]:
        """Numbers of the objects that are trained on."""
        return np.flatnonzero(~self.crowd if self.trained_on is None else self.trained_on)


@dataclass(frozen=True, eq=False)
class AnnotatedSet:
    """Images with boxes.

    Args:
        name: What the set is called.
        source: The images.
        images: What is known of each.
        class_names: Names of the classes 1 to K.
        category_ids: Their numbers in the annotation file, which may have gaps.
        notes: What a reader should know, a line each.
    """

    name: str
    source: ImageSource
    images: tuple[Annotated, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_masks(self) -> bool:
        """Whether every object has a mask."""
        return all(each.segments is not None for each in self.images if len(each.labels))

    @property
    def objects(self) -> int:
        """Number of objects, crowds left out."""
        return sum(len(each.objects) for each in self.images)

    def subset(self, indices: Sequence[int], name: str = "") -> "AnnotatedSet":
        """Some of the images."""
        chosen = np.asarray(indices, np.int64)
        return dataclasses.replace(
            self,
            name=name or self.name,
            source=self.source.subset(chosen),
            images=tuple(self.images[int(i)] for i in chosen),
        )

    def with_objects(self) -> "AnnotatedSet":
        """The images with an object that is trained on."""
        kept = [i for i, each in enumerate(self.images) if len(each.objects)]
        return self if len(kept) == len(self) else self.subset(kept)

    def fingerprint(self) -> str:
        """Digest of pixels, boxes and classes."""
        digest = hashlib.sha256(self.source.fingerprint().encode())
        digest.update("\0".join(self.class_names).encode())
        for each in self.images:
            for part in (each.given_boxes, each.labels, each.crowd):
                digest.update(np.ascontiguousarray(part).tobytes())
            digest.update(repr(each.segments).encode())
        return digest.hexdigest()[:_TEXT_DIGITS]


@dataclass
class Drafts:
    """Collects what is wrong with boxes that can still be used, so that it is said once.

    Args:
        clipped: Images with a box that reached beyond them.
        outside: Images with a box outside of them.
        boxes: Boxes so far.
        beyond: Boxes that leave their image as x, y, width, height.
        as_corners: Boxes that lie in their image as x0, y0, x1, y1.
    """

    clipped: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    boxes: int = 0
    beyond: int = 0
    as_corners: int = 0

    def clip(self, given: NDArray[np.float64], height: int, width: int, where: str) -> tuple[Any, Any]:
        """Clip boxes x, y, w, h to the image.

        Returns:
            Corners (M, 4) within the image, and which of them are left (M,).
        """
        corners = np.concatenate((given[:, :2], given[:, :2] + given[:, 2:]), 1)
        inside = corners.clip(0, [width, height, width, height])
        left = ((inside[:, 2:] - inside[:, :2]) > _LEAST_SIDE).all(1)
        most = np.array([width + 1, height + 1])
        self.boxes += len(given)
        self.beyond += int((corners[:, 2:] > most).any(1).sum())
        self.as_corners += int(((given[:, 2:] >= given[:, :2]) & (given[:, 2:] <= most)).all(1).sum())
        # A rounding of the last pixel is no fault.
        self.clipped += [where] * int((np.abs(inside - corners).max(1, initial=0) > 1)[left].sum())
        self.outside += [where] * int((~left).sum())
        return inside.astype(np.float32), left

    def refuse_corners(self, name: str) -> None:
        """Refuse boxes that were read as x, y, width, height, and can only be corners.

        Raises:
            LowzooError: More than a few leave their image as what they were read as, and none as corners.
        """
        if self.beyond > _FEW * self.boxes and self.as_corners == self.boxes:
            raise LowzooError(
                f"{self.beyond} of the {self.boxes} boxes of {name} leave their image as x, y, width and height, "
                "and all lie inside as corners x0, y0, x1, y1",
                "Write them as x, y, width and height: subtract x0 from x1 and y0 from y1",
            )

    def notes(self) -> list[str]:
        """A line for each kind."""
        from lowzoo.data.reading.found import some_of

        found = []
        if self.clipped:
            found.append(f"{len(self.clipped)} boxes reach beyond their image and are clipped: {some_of(self.clipped)}")
        if self.outside:
            found.append(
                f"{len(self.outside)} boxes are empty or lie outside their image and are left out: "
                f"{some_of(self.outside)}"
            )
        return found


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number that can be computed with, and neither true, nan nor beyond floats."""
    # Written so that a whole number of any length can be compared.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST <= value <= _MOST


def require_extra() -> None:
    """Refuse to go on without what counts AP and reads masks.

    Raises:
        LowzooError: It is not installed.
    """
    if importlib.util.find_spec("faster_coco_eval") is None:
        raise LowzooError("detection needs faster-coco-eval", "Run `pip install 'lowzoo[detect]'`")
