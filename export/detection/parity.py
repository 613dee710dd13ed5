"""Whether a file finds what the detector finds in PyTorch: detections matched one to one on real pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import box_iou

from lowzoo.detection.folder import TrainedDetector
from lowzoo.detection.sets.batches import normalised
from lowzoo.export.spec.bounds import ParityError

# Two detections are the same if they are of one class, overlap by so much and differ by so little in score.
SAME_OVERLAP, SAME_SCORE = 0.99, 0.01
# A detection whose score is this near to the threshold may fall on either side of it.
_MARGIN = 0.01
# What may be missed: suppression decides by overlaps, and rounding turns over one that is at the threshold exactly.
LEAST_MATCHED = 0.99
# Most mean difference of a matched mask's probabilities: as much of a mask may differ as of a box that counts as the
# same. Rounding in fp32 is at 1e-5 and below.
MOST_MASK_ERROR = 1 - SAME_OVERLAP


@dataclass(frozen=True)
class DetectionParity:
    """How far a file is from PyTorch.

    Args:
        images: Pictures that were compared.
        detections: Detections of PyTorch in them, whose score is above the threshold.
        file_detections: Those of the file.
        matched: Fraction of PyTorch's that the file found, or of the file's that PyTorch found, the smaller one; 1
            where nothing was detected.
        box_error: Largest difference of a corner in pixels, of matched ones.
        score_error: Largest difference of a score.
        mask_error: Largest mean difference of a mask's probabilities; None without masks.
        engine: What ran the file.
    """

    images: int
    detections: int
    file_detections: int
    matched: float
    box_error: float
    score_error: float
    mask_error: float | None
    engine: str

    @property
    def empty(self) -> bool:
        """Whether neither side detected anything, so that nothing was compared."""
        return not self.detections and not self.file_detections

    def broken(self) -> tuple[str, ...]:
        """Each bound that is broken, with both numbers."""
        found = []
        if self.matched < LEAST_MATCHED:
            found.append(
                f"{100 * self.matched:.1f} % of the detections (PyTorch {self.detections}, the file "
                f"{self.file_detections}) are the same, at least {100 * LEAST_MATCHED:g} % are wanted"
            )
        # Written so that a mask of nan breaks it.
        if self.mask_error is not None and not self.mask_error <= MOST_MASK_ERROR:
            found.append(
                f"the probabilities of a mask differ by {self.mask_error:.1e} in the mean, at most "
                f"{MOST_MASK_ERROR:.1e} is wanted"
            )
        return tuple(found)

    def line(self) -> str:
        """For people."""
        if self.empty:
            return (
                f"Parity: no detections in {self.images} pictures, neither in PyTorch nor in the file ({self.engine})"
            )
        masks = "" if self.mask_error is None else f", masks {self.mask_error:.1e}"
        return (
            f"Parity: {100 * self.matched:.1f} % of {max(self.detections, self.file_detections)} detections in "
            f"{self.images} pictures matched, "
            f"boxes within {self.box_error:.1e} px, scores {self.score_error:.1e}{masks} ({self.engine})"
        )


def framed(pixels: NDArray[np.uint8], size: tuple[int, int], mean: Sequence[float]) -> NDArray[np.uint8]:
    """A picture of any size as the file takes it: as large as fits, at the upper left, the rest the mean colour."""
    height, width = pixels.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    found = np.empty((*size, 3), np.uint8)
    found[:] = np.rint(255 * np.asarray(mean)).astype(np.uint8)
    shown = Image.fromarray(pixels).resize((inner[1], inner[0]), Image.Resampling.BILINEAR)
    found[: inner[0], : inner[1]] = np.asarray(shown)
    return found


def compare(
    trained: TrainedDetector,
    pictures: Sequence[NDArray[np.uint8]],
    run: Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]],
    engine: str,
) -> DetectionParity:
    """Hold a file against PyTorch.

    Args:
        trained: The detector that it was made from.
        pictures: Each of the file's size.
        run: Gives boxes, scores, classes from 0 on and perhaps masks of a picture.
        engine: What runs it.
    """
    threshold = trained.detector.shape.score_threshold + _MARGIN
    total = theirs_total = both = both_of_theirs = 0
    box_error = score_error = mask_error = 0.0
    for picture in pictures:
        ours = _in_pytorch(trained, picture)
        theirs = {name: torch.from_numpy(np.array(value)) for name, value in run(picture).items()}
        there = theirs["scores"] > trained.detector.shape.score_threshold
        pairs = _pairs(ours, {name: value[there] for name, value in theirs.items()})
        sure, sure_theirs = ours["scores"] >= threshold, theirs["scores"][there] >= threshold
        total, theirs_total = total + int(sure.sum()), theirs_total + int(sure_theirs.sum())
        both += sum(bool(sure[i]) for i, _ in pairs)
        both_of_theirs += sum(bool(sure_theirs[j]) for _, j in pairs)
        for i, j in pairs:
            boxes = theirs["boxes"][there][j] - ours["boxes"][i]
            box_error = max(box_error, float(boxes.abs().max()))
            score_error = max(score_error, float((theirs["scores"][there][j] - ours["scores"][i]).abs()))
            if "masks" in ours:
                drawn = theirs["masks"][there][j] - ours["masks"][i]
                # max() passes over nan.
                error = float(drawn.abs().mean())
                mask_error = error if error != error else max(mask_error, error)
    found = min(both / total if total else 1.0, both_of_theirs / theirs_total if theirs_total else 1.0)
    masks = mask_error if trained.detector.masks else None
    return DetectionParity(len(pictures), total, theirs_total, found, box_error, score_error, masks, engine)


def enforce(parity: DetectionParity) -> None:
    """Refuse a file that finds something else.

    Raises:
        ParityError: It does.
    """
    if broken := parity.broken():
        raise ParityError(
            f"the file does not find what PyTorch finds: {'; '.join(broken)}",
            "Nothing was written; export another detector, or report this one",
        )


@torch.no_grad()
def _in_pytorch(trained: TrainedDetector, picture: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
    size = (picture.shape[0], picture.shape[1])
    images = normalised(torch.from_numpy(picture[None].copy()), [size], trained.backbone.mean, trained.backbone.std)
    (found,) = trained.detector(images, [size])
    return {"classes": found["labels"] - 1, **{name: found[name] for name in found if name != "labels"}}


def _pairs(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> list[tuple[int, int]]:
    """Matched detections, each once."""
    overlaps = box_iou(ours["boxes"], theirs["boxes"])
    alike = ours["classes"][:, None] == theirs["classes"][None]
    near = (ours["scores"][:, None] - theirs["scores"][None]).abs() <= SAME_SCORE
    fits = torch.where(alike & near & (overlaps >= SAME_OVERLAP), overlaps, torch.zeros_like(overlaps))
    found, taken = [], set[int]()
    for i in range(len(fits)):
        for j in fits[i].argsort(descending=True).tolist():
            if not fits[i, j]:
                break
            if j not in taken:
                taken.add(j)
                found.append((i, j))
                break
    return found
