"""The photometric operations on a CPU: an image at a time, pixels interleaved, by OpenCV.

Brightness, contrast, saturation and grey are affine maps of a pixel's colour, and so is the normalisation. They are
collected in one 3 x 4 matrix and applied in one pass where something else follows: the bounds of [0, 255], which only a
factor above 1 can leave, the turn of the hue, or the end. The blur changes places with such maps. `benchmarks/views.py`
has its speed.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.train.views.operations import LUMA, gaussian_kernels
from lowzoo.train.views.params import BRIGHTNESS, CONTRAST, GRAY, HUE, JITTER_ORDERS, ORDER, SATURATION, SIGMA, SOLARISE

Pixels = NDArray[np.float32]
# A (3, 4) matrix: a colour (r, g, b, 1) to another one.
Affine = NDArray[np.float64]

_IDENTITY = np.eye(3, 4)
_LUMA = np.array(LUMA)
_GRAY = np.tile(_LUMA, (3, 1))

# For the whole process, as in `data.decode`: OpenCV's own threads would share out the rows of one small image.
cv2.setNumThreads(1)


def change_colours(views_N3HW: Tensor, params_NP: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """See `photometric`; float32, the views on the CPU. The result's pixels are interleaved (channels last)."""
    images = views_N3HW.numpy()
    # OpenCV writes to what is of the right type and size; anything else it silently leaves alone.
    out = torch.empty(views_N3HW.shape, dtype=torch.float32, memory_format=torch.channels_last)
    out_NHW3 = out.permute(0, 2, 3, 1).numpy()
    rows, kernels = params_NP.tolist(), _kernels(params_NP[:, SIGMA])
    normalise = _IDENTITY / (255 * np.array(std)[:, None])
    normalise[:, 3] = -np.array(mean) / np.array(std)

    def finish_part(part: range) -> None:
        colours = _Colours(images.shape[2:])
        for i in part:
            colours.change_colours(images[i], out_NHW3[i], rows[i], kernels[i], normalise)

    # One thread's images lie beside each other.
    threads = max(1, min(torch.get_num_threads(), len(images)))
    parts = [range(len(images) * t // threads, len(images) * (t + 1) // threads) for t in range(threads)]
    if threads == 1:
        finish_part(parts[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(finish_part, parts))
    return out


class _Colours:
    """The operations of one image after another of one size, in memory that they share.

    Args:
        size: Height and width of the images in pixels.
    """

    def __init__(self, size: tuple[int, ...]) -> None:
        self._whole = np.empty((*size, 3), np.uint8)
        # What holds the image, and what the next operation writes to.
        self._now, self._next = np.empty((*size, 3), np.float32), np.empty((*size, 3), np.float32)
        self._pending: Affine = _IDENTITY

    def change_colours(
        self, planes: NDArray[np.uint8], out: Pixels, row: list[float], kernel: Pixels | None, normalise: Affine
    ) -> None:
        """Apply all operations.

        Args:
            planes: (3, H, W), the image.
            out: (H, W, 3), for the result.
            row: The image's photometric parameters.
            kernel: Kernel of the blur, along one axis.
            normalise: What to do to values in [0, 255] at the end.
        """
        np.copyto(self._now, cv2.merge(list(planes), dst=self._whole))
        self._pending = _IDENTITY
        for operation in JITTER_ORDERS[int(row[ORDER])]:
            self._jitter(operation, row[operation])
        if row[GRAY]:
            self._pending = _GRAY @ self._pending
        if kernel is not None:
            cv2.sepFilter2D(self._now, -1, kernel, kernel, dst=self._next, borderType=cv2.BORDER_REPLICATE)
            self._swap()
        if row[SOLARISE]:
            # Invert what rounds to 128 or more; 255 - x on that side is the mirror image in 127.5.
            self._settle()
            cv2.absdiff(self._now, (127.5,) * 4, dst=self._now)
            self._pending = -_IDENTITY
            self._pending[:, 3] = 127.5
        last = normalise[:, :3] @ self._pending
        last[:, 3] += normalise[:, 3]
        cv2.transform(self._now, last, dst=out)

    def _jitter(self, operation: int, factor: float) -> None:
        if operation == HUE:
            self._turn_hue(factor)
            return
        if factor == 1:
            return
        before = self._pending
        self._pending = factor * before
        if operation == CONTRAST:
            colour = np.array((*cv2.mean(self._now)[:3], 1.0))
            self._pending[:, 3] += (1 - factor) * (_LUMA @ before @ colour)
        elif operation == SATURATION:
            self._pending += (1 - factor) * (_LUMA @ before)
        if factor > 1:
            self._settle()
            cv2.threshold(self._now, 255, 255, cv2.THRESH_TRUNC, dst=self._now)
            if operation != BRIGHTNESS:
                cv2.threshold(self._now, 0, 0, cv2.THRESH_TOZERO, dst=self._now)

    def _turn_hue(self, turns: float) -> None:
        """Shift the hue in HSV; OpenCV's is in degrees, and it counts on none below 0."""
        if turns:
            self._settle()
            cv2.cvtColor(self._now, cv2.COLOR_RGB2HSV, dst=self._next)
            self._swap()
            self._pending = _IDENTITY.copy()
            self._pending[0, 3] = 360 * (turns % 1)
            self._settle()
            cv2.cvtColor(self._now, cv2.COLOR_HSV2RGB, dst=self._next)
            self._swap()

    def _settle(self) -> None:
        """Apply what is pending."""
        if self._pending is not _IDENTITY:
            cv2.transform(self._now, self._pending, dst=self._next)
            self._swap()
            self._pending = _IDENTITY

    def _swap(self) -> None:
        self._now, self._next = self._next, self._now


def _kernels(sigma_N: Tensor) -> list[Pixels | None]:
    """Kernels of the blur along one axis, an image each, both sides of the centre; None for none."""
    halves, radii = gaussian_kernels(sigma_N)
    both = torch.cat((halves.flip(1)[:, :-1], halves), 1).numpy()
    middle = halves.shape[1] - 1
    return [
        row[middle - radius : middle + radius + 1] if radius else None for row, radius in zip(both, radii, strict=True)
    ]
