"""A batch of views, and how it is drawn from decoded images, whichever way these come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.data.pixels.decode import Decoded, Rules, decode
from lowzoo.data.pixels.jpeg import plain_jpeg
from lowzoo.train.data.batches import Key
from lowzoo.train.data.shared_pixels import Lease, SharedPixels
from lowzoo.train.views import ViewGroup, ViewParams, sample_params
from lowzoo.train.views.crops import crop_into, largest_divisor

# Decoded pixels that wait on the device at once, 200 MB of them; a photograph of more is decoded here.
MOST_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True)
class Undecoded:
    """A JPEG that the device decodes.

    Args:
        data: The file's bytes.
        turn: Orientation 1 to 8 by which the pixels are turned.
        grey: Whether it has one component.
        pixels: How many it has.
    """

    data: bytes
    turn: int
    grey: bool
    pixels: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image and what to cut from it.

    Args:
        index: That the views are drawn for: in the source or, of a stream, one that no other image of the epoch has.
        image: Decoded, perhaps smaller than it is stored; or a JPEG that the device decodes.
        params: Parameters of the views.
        where: Its name.
    """

    index: int
    image: Decoded | Undecoded
    params: ViewParams
    where: str


# Decodes an image, given what says by what its sides may be divided.
Reading = Callable[[Callable[[int, int], int]], Decoded]
# Gives the image for a key, or None where none could be read. It may be another one than asked for; what could not be
# read is added to the list.
ImageOf = Callable[[Key, list[str]], Drawn | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image of a batch whose crops the device makes, see `lowzoo.train.runs.device_decoding`.

    Args:
        row: Its row in the batch; what its crops hold means nothing before.
        start: Where its bytes begin in the batch's `encoded`.
        end: Where they end.
        turn: Orientation 1 to 8 by which the pixels are turned.
        grey: Whether it has one component.
        pixels: How many it has.
        boxes: (V, 4) int64, see `ViewParams`.
        flips: (V,) bool.
        where: Its name.
    """

    row: int
    start: int
    end: int
    turn: int
    grey: bool
    pixels: int
    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]
    where: str


@dataclass(frozen=True, slots=True)
class ViewBatch:
    """The views of one batch (of one micro-batch, where gradients are accumulated).

    Args:
        crops: One uint8 tensor (B, count, 3, S, S) a group.
        photometric: (B, V, 8) float32, see `ViewParams`.
        bad: A message for each image that could not be read; another one stands in its place.
        epoch: That the views were drawn for.
        indices: (B,) int64, the images in their source.
        records: (B, G, 13) float32, what the G global views are made of, see `ViewParams.record`.
        seen: Images that were asked for.
        lease: Lease of the memory that the crops lie in, where a worker lends it.
        odd: Oddity and name of each image that could be read and is odd.
        encoded: The files that the device decodes, one after the other; nothing that would take shared memory.
        waiting: Whose they are.
        rules: How those are decoded.
        by_cpu: Images that were decoded here, though the device was to decode what it can.
    """

    crops: list[Tensor]
    photometric: Tensor
    bad: list[str]
    epoch: int
    indices: Tensor
    records: Tensor
    seen: int
    lease: Lease | None = None
    odd: tuple[tuple[str, str], ...] = ()
    encoded: bytearray = field(default_factory=bytearray)
    waiting: tuple[Waiting, ...] = ()
    rules: Rules = field(default_factory=Rules)
    by_cpu: int = 0

    def __len__(self) -> int:
        return len(self.photometric)

    def pin_memory(self) -> "ViewBatch":
        """A batch with the pixels in page-locked memory; this one's are released.

        The loader calls this, as it does not look into a class by itself.
        """
        pinned = replace(self, crops=[crops.pin_memory() for crops in self.crops], lease=None)
        self.release()
        return pinned

    def release(self) -> None:
        """Let go of the crops, which are gone from here; a worker may overwrite their memory from now on."""
        self.crops.clear()
        if self.lease is not None:
            self.lease.release()


class ViewDrawer:
    """Draws the views of images; see `ViewDataset` for the arguments."""

    def __init__(
        self, groups: Sequence[ViewGroup], seed: int, view_epochs: int | None, whole: bool, on_device: bool = False
    ) -> None:
        self.groups, self.seed, self.view_epochs, self.on_device = tuple(groups), seed, view_epochs, on_device
        # Local views never repeat, so views that do must not depend on them.
        self.whole = whole or view_epochs is not None
        self._memory = SharedPixels()
        self._global = np.repeat([group.name == "global" for group in groups], [group.count for group in groups])

    def own_memory(self) -> None:
        """Lend no shared memory: batches leave a worker as copies."""
        self._memory = SharedPixels(shared=False)

    def draw(self, data: bytes, where: str, rules: Rules, epoch: int, index: int) -> Drawn:
        """Draw the views of an image and decode it, unless the device does so.

        Args:
            data: The file's bytes.
            where: Its name.
            rules: How it is decoded.
            epoch: From 0.
            index: That the views are drawn for.

        Raises:
            BadImage: It cannot be decoded.
        """
        jpeg = plain_jpeg(data) if self.on_device else None
        # What nvJPEG reads as libjpeg does: eight bits, grey or luma and chroma. All else is for the CPU's decoders.
        if jpeg is not None and jpeg.bits == 8 and (jpeg.components == 1 or jpeg.chroma):
            size = jpeg.size(rules.orientation)
            if size[0] * size[1] <= MOST_PIXELS:
                image = Undecoded(data, jpeg.turn(rules.orientation), jpeg.components == 1, size[0] * size[1])
                params = sample_params(self.groups, self.seed, epoch, index, *size, view_epochs=self.view_epochs)
                return Drawn(index, image, params, where)
        return self._decoded(partial(decode, data, where, rules), where, epoch, index)

    def _decoded(self, read: Reading, where: str, epoch: int, index: int) -> Drawn:
        """Draw the views of an image and read it, if not whole then as small as they allow."""
        drawn: dict[tuple[int, int], ViewParams] = {}

        def params(height: int, width: int) -> ViewParams:
            if (height, width) not in drawn:
                drawn[height, width] = sample_params(
                    self.groups, self.seed, epoch, index, height, width, view_epochs=self.view_epochs
                )
            return drawn[height, width]

        def divisor(height: int, width: int) -> int:
            return 1 if self.whole else largest_divisor(params(height, width).boxes, self.groups)

        image = read(divisor)
        return Drawn(index, image, params(*image.size), where)

    def batch(self, keys: Sequence[Key], image_of: ImageOf, rules: Rules) -> ViewBatch:
        """Draw a batch.

        Args:
            keys: (epoch, index) pairs, all of one epoch.
            image_of: Called once for each key, in order.
            rules: How its images are decoded.
        """
        # Crops go where they will be read: a tensor an image and their collation cost a quarter of a worker's time,
        # most of it in page faults.
        crops, lease = self._memory.take([(len(keys), group.count, 3, group.size, group.size) for group in self.groups])
        bad: list[str] = []
        indices: list[int] = []
        drawn: list[ViewParams] = []
        odd: list[tuple[str, str]] = []
        waiting: list[Waiting] = []
        encoded = bytearray()
        for key in keys:
            found = image_of(key, bad)
            if found is None:
                continue
            image, row, params = found.image, len(drawn), found.params
            if isinstance(image, Undecoded):
                start = len(encoded)
                encoded += image.data
                place = (row, start, len(encoded), image.turn, image.grey, image.pixels)
                waiting.append(Waiting(*place, params.boxes, params.flips, found.where))
            else:
                crop_into([views[row] for views in crops], image.pixels, params, self.groups, image.divisor)
                odd += [(oddity, found.where) for oddity in image.oddities]
            indices.append(found.index)
            drawn.append(params)
        return ViewBatch(
            crops=[views[: len(drawn)] for views in crops] if drawn else [],
            photometric=_stack([params.photometric for params in drawn]),
            bad=bad,
            epoch=keys[0][0],
            indices=torch.tensor(indices, dtype=torch.int64),
            records=_stack([params.record()[self._global] for params in drawn]),
            seen=len(keys),
            lease=lease,
            odd=tuple(odd),
            encoded=encoded,
            waiting=tuple(waiting),
            rules=rules,
            by_cpu=len(drawn) - len(waiting) if self.on_device else 0,
        )


def _stack(rows: list[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0)
