"""A batch of views, and how it is drawn from decoded images, whichever way these come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.data.pixels.decode import Decoded
from lowzoo.train.data.batches import Key
from lowzoo.train.data.shared_pixels import Lease, SharedPixels
from lowzoo.train.views import ViewGroup, ViewParams, sample_params
from lowzoo.train.views.crops import crop_into, largest_divisor


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image and what to cut from it.

    Args:
        index: That the views are drawn for: in the source or, of a stream, one that no other image of the epoch has.
        image: Decoded, perhaps smaller than it is stored.
        params: Parameters of the views.
        where: Its name.
    """

    index: int
    image: Decoded
    params: ViewParams
    where: str


# Decodes an image, given what says by what its sides may be divided.
Reading = Callable[[Callable[[int, int], int]], Decoded]
# Gives the image for a key, or None where none could be read. It may be another one than asked for; what could not be
# read is added to the list.
ImageOf = Callable[[Key, list[str]], Drawn | None]


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

    def __init__(self, groups: Sequence[ViewGroup], seed: int, view_epochs: int | None, whole: bool) -> None:
        self.groups, self.seed, self.view_epochs = tuple(groups), seed, view_epochs
        # Local views never repeat, so views that do must not depend on them.
        self.whole = whole or view_epochs is not None
        self._memory = SharedPixels()
        self._global = np.repeat([group.name == "global" for group in groups], [group.count for group in groups])

    def own_memory(self) -> None:
        """Lend no shared memory: batches leave a worker as copies."""
        self._memory = SharedPixels(shared=False)

    def draw(self, read: Reading, where: str, epoch: int, index: int) -> Drawn:
        """Draw the views of an image and read it, if not whole then as small as they allow.

        Args:
            read: Decodes the image, given what says how small it may be; see `lowzoo.data.pixels.decode.decode`.
            where: Its name.
            epoch: From 0.
            index: That the views are drawn for.
        """
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

    def batch(self, keys: Sequence[Key], image_of: ImageOf) -> ViewBatch:
        """Draw a batch.

        Args:
            keys: (epoch, index) pairs, all of one epoch.
            image_of: Called once for each key, in order.
        """
        # Crops go where they will be read: a tensor an image and their collation cost a quarter of a worker's time,
        # most of it in page faults.
        crops, lease = self._memory.take([(len(keys), group.count, 3, group.size, group.size) for group in self.groups])
        bad: list[str] = []
        indices: list[int] = []
        drawn: list[ViewParams] = []
        odd: list[tuple[str, str]] = []
        for key in keys:
            found = image_of(key, bad)
            if found is None:
                continue
            image = found.image
            crop_into([views[len(drawn)] for views in crops], image.pixels, found.params, self.groups, image.divisor)
            indices.append(found.index)
            drawn.append(found.params)
            odd += [(oddity, found.where) for oddity in image.oddities]
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
        )


def _stack(rows: list[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0)
