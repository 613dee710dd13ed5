"""Photographs decoded on a GPU by nvJPEG, through torchvision, and cropped where they are.

A worker hands over the files as they are and draws the crops from what their headers say. Here they are decoded,
turned as the CPU's decoders turn them, cropped and resized: PIL's filter in its two passes, each rounded to bytes.
nvJPEG widens the colours of a photograph with half as many of them otherwise than libjpeg does, so that pixels differ a
little along edges of colours. What it refuses goes to the CPU's decoders and is counted; what these cannot read either
is counted as unreadable, and another image of its batch stands in its place.

nvJPEG has a stream of its own, and for some files the host waits for that one; for the stream of the training step
nothing here waits. This has been proven on a traced device alone, with the CPU's decoder in nvJPEG's place.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.pixels.decode import BadImage, decode_rgb
from lowzoo.data.pixels.orientation import swaps_sides
from lowzoo.train.data.view_batch import MOST_PIXELS, ViewBatch, Waiting
from lowzoo.train.views import ViewGroup

# Files (bytes,) uint8 on the CPU, all grey or all in colour, to pixels (1 or 3, H, W) uint8 on the device.
DecodeJpegs = Callable[[list[Tensor], bool], list[Tensor]]
# What the device takes while it decodes, at most: pixels as bytes, and those of one photograph as floats beside them.
DECODING_BYTES = MOST_PIXELS * 3 * (1 + 4)
LEFT_TO_THE_CPU = f"other formats, more than {MOST_PIXELS // 1_000_000} megapixels, or what nvJPEG refused"


@dataclass(slots=True)
class Counts:
    """What became of images that the device was to decode.

    Args:
        by_cpu: Those that the CPU decoded, in this process, as nvJPEG refused them.
        bad: A message for each that nobody could.
    """

    by_cpu: int = 0
    bad: list[str] = field(default_factory=list)

    def take(self) -> "Counts":
        """These counts, which begin again at nothing."""
        taken = Counts(self.by_cpu, self.bad)
        self.by_cpu, self.bad = 0, []
        return taken


class DeviceDecoder:
    """Fills in the crops of images that the workers left encoded.

    Args:
        groups: The groups of views.
        device: Where the views are made.
        decode: What decodes there; nvJPEG if absent.
    """

    def __init__(self, groups: Sequence[ViewGroup], device: torch.device, decode: DecodeJpegs | None = None) -> None:
        self.groups, self.device = tuple(groups), device
        self.decode = decode or by_nvjpeg(device)
        self.counts = Counts()

    def fill(self, crops: Sequence[Tensor], batch: ViewBatch) -> None:
        """Make the crops that are missing.

        Args:
            crops: (B, count, 3, S, S) uint8 on the device, a group each; written to.
            batch: The batch; where an image turns out to be damaged, its row becomes that of another one.

        Raises:
            LowzooError: No image of the batch can be read; the first is named.
        """
        if not batch.waiting:
            return
        encoded = torch.frombuffer(batch.encoded, dtype=torch.uint8)
        lost: list[int] = []
        known = len(self.counts.bad)
        for part in _parts(batch.waiting):
            files = [encoded[each.start : each.end] for each in part]
            for each, image in zip(part, self._decoded(part, files, batch), strict=True):
                if image is None:
                    lost.append(each.row)
                else:
                    self._cut([views[each.row] for views in crops], upright(image, each.turn), each)
        _replace_rows(lost, crops, batch, self.counts.bad[known:])

    def _decoded(self, part: Sequence[Waiting], files: list[Tensor], batch: ViewBatch) -> Iterator[Tensor | None]:
        """Pixels (1 or 3, H, W) of each file on the device, as it is stored; None for what nobody can read."""
        try:
            images: list[Tensor | None] = list(self._together(part, files))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # of one of them, nvJPEG does not say which
            images = [self._alone(each, file, batch) for each, file in zip(part, files, strict=True)]
        yield from images

    def _together(self, part: Sequence[Waiting], files: list[Tensor]) -> list[Tensor]:
        images = self.decode(files, part[0].grey)
        for image in images:
            if image.is_cuda:
                # Its memory belongs to nvJPEG's stream, and is read by the one that makes views.
                image.record_stream(torch.cuda.current_stream(self.device))
        return images

    def _alone(self, each: Waiting, file: Tensor, batch: ViewBatch) -> Tensor | None:
        try:
            return self._together([each], [file])[0]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            pass
        try:
            # As it is stored: whoever asked turns it.
            stored = batch.rules.as_stored()
            pixels = torch.from_numpy(decode_rgb(file.numpy().tobytes(), each.where, stored))
        except BadImage as error:
            self.counts.bad.append(error.message)
            return None
        self.counts.by_cpu += 1
        return pixels.permute(2, 0, 1).to(self.device, non_blocking=True)

    def _cut(self, out: Sequence[Tensor], image: Tensor, each: Waiting) -> None:
        """Cut all views (count, 3, S, S) of an image (1 or 3, H, W) that is upright."""
        boxes = iter(zip(each.boxes.tolist(), each.flips.tolist(), strict=True))
        for views, group in zip(out, self.groups, strict=True):
            for view in views:
                (top, left, height, width), flip = next(boxes)
                box = image[:, top : top + height, left : left + width]
                crop = resized(box, group.size, group.interpolation)
                view.copy_((crop.flip(-1) if flip else crop).expand_as(view))


def by_nvjpeg(device: torch.device) -> DecodeJpegs:
    """Decode by nvJPEG; asks nothing of the device before it is called."""

    def decode(files: list[Tensor], grey: bool) -> list[Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is on its way to another package
            images: list[Tensor] = decode_jpeg(
                files, mode=ImageReadMode.GRAY if grey else ImageReadMode.RGB, device=device
            )
        return images

    return decode


def require_decoder(device: torch.device) -> None:
    """Refuse a device that no nvJPEG is at hand for, by decoding a picture of a few pixels.

    Raises:
        LowzooError: It is no GPU, or this torchvision does not decode on it.
    """
    if device.type != "cuda":
        raise LowzooError(
            f"decode=device is for a CUDA GPU, and this run is on {device.type}", "Leave it out, or name --device cuda"
        )
    content = io.BytesIO()
    Image.new("RGB", (16, 16)).save(content, "JPEG")
    try:
        by_nvjpeg(device)([torch.frombuffer(bytearray(content.getvalue()), dtype=torch.uint8)], False)
    except (RuntimeError, ImportError, ValueError) as error:
        raise LowzooError(
            f"decode=device needs nvJPEG, which this torchvision does not offer ({reason_of(error)})",
            "Leave it out, or install a torchvision for CUDA",
        ) from error


def resized(image: Tensor, size: int, interpolation: str) -> Tensor:
    """Resize (C, h, w) uint8 to (C, size, size) with antialiasing, as PIL and torch do on a CPU.

    Along the rows first, then along the columns, with bytes in between: so what a cubic filter makes of an edge is cut
    off as theirs is.
    """
    for shape in ((image.shape[1], size), (size, size)):
        if tuple(image.shape[1:]) != shape:
            wide = interpolate(image[None].float(), shape, mode=interpolation, antialias=True)[0]
            image = wide.round_().clamp_(0, 255).to(torch.uint8)
    return image


def upright(image: Tensor, orientation: int) -> Tensor:
    """Turn and mirror (C, H, W) by an orientation 1 to 8, as `lowzoo.data.pixels.orientation.upright` does."""
    if orientation in (2, 3):
        image = image.flip(2)
    if orientation in (3, 4):
        image = image.flip(1)
    if swaps_sides(orientation):
        image = image.transpose(1, 2)
        if orientation in (6, 7):
            image = image.flip(2)
        if orientation in (7, 8):
            image = image.flip(1)
    return image


def _parts(waiting: Sequence[Waiting]) -> Iterator[list[Waiting]]:
    """Images that are decoded together: all grey or all in colour, and not too many pixels."""
    for grey in (False, True):
        part: list[Waiting] = []
        pixels = 0
        for each in waiting:
            if each.grey is not grey:
                continue
            if part and pixels + each.pixels > MOST_PIXELS:
                yield part
                part, pixels = [], 0
            part.append(each)
            pixels += each.pixels
        if part:
            yield part


def _replace_rows(lost: Sequence[int], crops: Sequence[Tensor], batch: ViewBatch, why: Sequence[str]) -> None:
    """Put another image of the batch, with all that is known of it, in the place of each that is damaged.

    Args:
        lost: Rows of the damaged ones.
        crops: As of `DeviceDecoder.fill`.
        batch: The batch.
        why: A message for each damaged one.
    """
    if not lost:
        return
    there = [row for row in range(len(batch)) if row not in set(lost)]
    if not there:
        raise LowzooError(
            f"no image of a whole batch can be read; of the first: {why[0]}", "Mend the data and go on with --resume"
        )
    for number, row in enumerate(lost):
        other = there[number % len(there)]
        for rows in (*crops, batch.photometric, batch.indices, batch.records):
            rows[row] = rows[other]
