"""Which images a step sees, at which size, and what becomes of them: all a function of the seed and the step.

So a run that goes on, several processes, and one that divides its batch see the same. Images of a step are padded to a
size that the whole step shares, and those of one step stand upright or lie, as far as they go round.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.detection.sets import masks
from lowzoo.detection.sets.annotated import AnnotatedSet
from lowzoo.detection.sets.augment import Augmentation, Change, clipped, recolored

# Further images that are tried in place of one that cannot be read.
_TRIES = 20


def fitted(height: int, width: int, shorter: int, longest: int) -> tuple[int, int]:
    """Height and width of an image whose shorter side becomes `shorter`, unless the other exceeds `longest`."""
    scale = shorter / min(height, width)
    if scale * max(height, width) > longest:
        scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def padded(sizes: Sequence[tuple[int, int]], divisor: int) -> tuple[int, int]:
    """The least sides that hold all of these and are multiples of `divisor`."""
    height, width = (max(size[i] for size in sizes) for i in (0, 1))
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


@dataclass(frozen=True)
class Drawn:
    """One image of a step.

    Args:
        index: Which.
        shorter: Its shorter side in pixels.
        key: A number for the random samples that are taken of it.
        change: How it is augmented.
    """

    index: int
    shorter: int
    key: int
    change: Change = field(default_factory=Change)

    def sizes(self, height: int, width: int, longest: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(h, w) of the whole image, and of the part of it that is seen."""
        return self.change.sizes(fitted(height, width, self.shorter, longest))


@dataclass
class Plan:
    """What the steps of a run see.

    Args:
        sizes: (N, 2) height and width of each image.
        batch: Images of a step.
        seed: Random seed.
        shorter: Sizes that the shorter side is drawn from.
        longest: Most pixels of the other side.
        augmentation: What changes of an image are drawn from.
        divisor: See `padded`.
    """

    sizes: NDArray[np.int64]
    batch: int
    seed: int
    shorter: tuple[int, ...]
    longest: int
    augmentation: Augmentation
    divisor: int
    _epoch: tuple[int, list[list[int]]] = field(default=(-1, []), repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which each image comes once."""
        lying = int((self.sizes[:, 1] >= self.sizes[:, 0]).sum())
        standing = len(self.sizes) - lying
        rest = lying % self.batch + standing % self.batch
        return lying // self.batch + standing // self.batch + -(-rest // self.batch)

    def images(self, step: int) -> list[Drawn]:
        """The images of a step, all processes and parts together."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = epoch, self._batches(epoch)
        drawn, more = (np.random.default_rng([self.seed, stream, step]) for stream in (1, 2))
        return [
            Drawn(
                index,
                int(self.shorter[int(drawn.integers(len(self.shorter)))]),
                (self.seed * 1_000_003 + step) * self.batch + slot,
                self.augmentation.draw(bool(drawn.random() < 0.5), more),
            )
            for slot, index in enumerate(self._epoch[1][place])
        ]

    def canvas(self, images: Sequence[Drawn]) -> tuple[int, int]:
        """Height and width that all images of a step are padded to."""
        own = [(one, self.sizes[one.index]) for one in images]
        sides = [one.sizes(int(size[0]), int(size[1]), self.longest)[1] for one, size in own]
        return padded(sides, self.divisor)

    def _batches(self, epoch: int) -> list[list[int]]:
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.sizes)).tolist()
        waiting: tuple[list[int], list[int]] = ([], [])
        found = []
        for index in order:
            row = waiting[int(self.sizes[index][1] >= self.sizes[index][0])]
            row.append(index)
            if len(row) == self.batch:
                found.append(row[:])
                row.clear()
        rest = [*waiting[0], *waiting[1]]
        # The last batch is filled up with images that come once more.
        rest += [order[i % len(order)] for i in range(-len(rest) % self.batch)]
        return found + [rest[i : i + self.batch] for i in range(0, len(rest), self.batch)]


@dataclass(frozen=True)
class Prepared:
    """One image with its objects, at the size it is fed in.

    Args:
        pixels: (h, w, 3) uint8.
        boxes: (M, 4) float32 corners.
        labels: (M,) int64.
        masks: (M, h, w) uint8, or None.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Batch:
    """Images of one process in one part of a step.

    Args:
        pixels: (B, H, W, 3) uint8, each at the upper left.
        sizes: (h, w) of each.
        targets: See `Detector.forward`.
        keys: See `Detector.forward`.
        bad: A message for each image that could not be read; the next one that can stands in for it.
    """

    pixels: Tensor
    sizes: list[tuple[int, int]]
    targets: list[dict[str, Tensor]]
    keys: list[int]
    bad: list[str]


def read_pixels(data: AnnotatedSet, index: int) -> NDArray[np.uint8]:
    """Decode an image (H, W, 3).

    Raises:
        BadImage: It cannot be read.
        LowzooError: It has another size than its annotations say.
    """
    pixels = data.source.pixels(index)
    own = data.images[index]
    if pixels.shape[:2] != (own.height, own.width):
        turned = pixels.shape[:2] == (own.width, own.height)
        raise LowzooError(
            f"{data.source.where(index)} is {pixels.shape[1]} x {pixels.shape[0]} pixels"
            f"{' as its camera turned it' if turned else ''}, and its annotations are for {own.width} x {own.height}",
            "Store the picture upright" if turned else "Get the image again, or mend its entry",
        )
    return pixels


def resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image at (h, w), antialiased."""
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def prepare(data: AnnotatedSet, one: Drawn, longest: int, *, with_masks: bool) -> Prepared:
    """Read an image and bring it and its objects to the size and the change of this step."""
    pixels, own = read_pixels(data, one.index), data.images[one.index]
    whole, size = one.sizes(own.height, own.width, longest)
    row, column = one.change.cut(whole, size)
    cut = np.s_[row : row + size[0], column : column + size[1]]
    scale = np.array([whole[1] / own.width, whole[0] / own.height], np.float32)
    moved = own.boxes[own.objects] * np.tile(scale, 2) - np.array([column, row] * 2, np.float32)
    # An object that annotations call one stays one unless the crop took it away.
    boxes, seen = (moved, np.ones(len(moved), bool)) if whole == size else clipped(moved, size)
    if len(own.objects) and not seen.any():
        # The part that was drawn shows none of them: nothing would be learned but background. The whole image does.
        return prepare(data, replace(one, change=replace(one.change, scale=1.0)), longest, with_masks=with_masks)
    chosen, boxes = own.objects[seen], boxes[seen]
    drawn: NDArray[np.uint8] | None = None
    if with_masks and own.segments is not None:
        each = [masks.draw(own.segments[i], (own.height, own.width), whole)[cut] for i in chosen]
        drawn = np.stack(each) if each else np.zeros((0, *size), np.uint8)
    elif with_masks:
        drawn = np.zeros((0, *size), np.uint8)
    pixels = recolored(resized(pixels, whole)[cut], one.change.colors)
    if one.change.flip:
        pixels = pixels[:, ::-1]
        boxes = np.stack((size[1] - boxes[:, 2], boxes[:, 1], size[1] - boxes[:, 0], boxes[:, 3]), 1)
        drawn = None if drawn is None else drawn[:, :, ::-1]
    return Prepared(np.ascontiguousarray(pixels), boxes.astype(np.float32), own.labels[chosen], drawn)


class Steps(Dataset[list[Batch]]):
    """Step i of a run for one process: a batch for each part.

    Args:
        data: The images.
        plan: Which of them each step sees.
        with_masks: Whether masks are wanted.
        parts: Parts of a step that go through the network one after another.
        rank: This process's number.
        processes: How many share a step.
    """

    def __init__(
        self, data: AnnotatedSet, plan: Plan, *, with_masks: bool, parts: int = 1, rank: int = 0, processes: int = 1
    ) -> None:
        self.data, self.plan, self.with_masks = data, plan, with_masks
        self.parts, self.rank, self.processes = parts, rank, processes

    def __getitem__(self, step: int) -> list[Batch]:
        images = self.plan.images(step)
        canvas = self.plan.canvas(images)
        each = len(images) // (self.parts * self.processes)
        found = []
        for part in range(self.parts):
            start = (part * self.processes + self.rank) * each
            found.append(self._batch(images[start : start + each], canvas))
        return found

    def _batch(self, images: Sequence[Drawn], canvas: tuple[int, int]) -> Batch:
        pixels = np.zeros((len(images), *canvas, 3), np.uint8)
        sizes, targets, bad = [], [], list[str]()
        for place, one in enumerate(images):
            found = self._readable(one, bad, canvas)
            size = found.pixels.shape[:2]
            pixels[place, : size[0], : size[1]] = found.pixels
            target = {"boxes": torch.from_numpy(found.boxes), "labels": torch.from_numpy(found.labels)}
            if found.masks is not None:
                full = np.zeros((len(found.masks), *canvas), np.uint8)
                full[:, : size[0], : size[1]] = found.masks
                target["masks"] = torch.from_numpy(full)
            sizes.append((size[0], size[1]))
            targets.append(target)
        return Batch(torch.from_numpy(pixels), sizes, targets, [one.key for one in images], bad)

    def _readable(self, one: Drawn, bad: list[str], canvas: tuple[int, int]) -> Prepared:
        for further in range(_TRIES):
            index = (one.index + further) % len(self.data)
            tried = replace(one, index=index)
            own = self.data.images[index]
            _, size = tried.sizes(own.height, own.width, self.plan.longest)
            if further and (size[0] > canvas[0] or size[1] > canvas[1]):
                continue  # it would reach beyond what all processes have agreed on
            try:
                return prepare(self.data, tried, self.plan.longest, with_masks=self.with_masks)
            except BadImage as error:
                bad.append(error.message)
        raise LowzooError(f"{bad[0]}, and none of the next {_TRIES - 1} can stand in for it", "Mend the images")


class StepNumbers:
    """The steps from one on, without end."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1


def normalised(pixels: Tensor, sizes: Sequence[tuple[int, int]], mean: Any, std: Any) -> Tensor:
    """Pixels (B, H, W, 3) in 0 to 255 to (B, 3, H, W), the padding 0 as in the middle of what the network knows."""
    x = pixels.permute(0, 3, 1, 2).float()
    centre, spread = (255 * torch.tensor(values, device=x.device).view(1, -1, 1, 1) for values in (mean, std))
    x = (x - centre) / spread
    for image, (height, width) in zip(x, sizes, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
    return x
