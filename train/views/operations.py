"""The photometric operations: in place, on planes of values in [0, 255], one parameter an image.

Semantics are those of torchvision's functional transforms and PIL's filters, without the rounding to uint8.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

_LUMA = (0.299, 0.587, 0.114)


def luma(views_N3HW: Tensor) -> Tensor:
    """Brightness as PIL's mode "L" weighs it, (N, H, W)."""
    red, green, blue = views_N3HW.unbind(1)
    return (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def blend(views_N3HW: Tensor, factor_N: Tensor, to_mean_N: Tensor, to_luma_N: Tensor) -> None:
    """X -> factor x + to_mean mean(luma(x)) + to_luma luma(x), clamped.

    Brightness is (f, 0, 0), contrast (f, 1 - f, 0), saturation (f, 0, 1 - f).
    """
    reference = luma(views_N3HW)
    mean_N11 = reference.mean((1, 2), keepdim=True)
    reference.mul_(to_luma_N.view(-1, 1, 1)).add_(mean_N11.mul_(to_mean_N.view(-1, 1, 1)))
    torch.addcmul(reference.unsqueeze_(1), views_N3HW, factor_N.view(-1, 1, 1, 1), out=views_N3HW)
    views_N3HW.clamp_(0, 255)


def brighten(views_N3HW: Tensor, factor_N: Tensor) -> None:
    """X -> factor x, clamped: what `blend` gives for two zeros, without the reference."""
    views_N3HW.mul_(factor_N.view(-1, 1, 1, 1)).clamp_(0, 255)


def turn_hue(views_N3HW: Tensor, turns_N: Tensor) -> None:
    """Shift the hue in HSV by a share of a full turn; value and saturation stay.

    With channels scaled to run from 0 (the lowest) to 1 (the highest), the hue is 1 + green + blue - red sixths of a
    turn away from red, in the direction of the larger of green and blue: no case for each third of the circle. Such
    cases (a comparison and a selection by its mask) cost as much as the whole function does.
    """
    red, green, blue = views_N3HW.unbind(1)
    low = torch.minimum(red, green).clamp_max_(blue)
    chroma = torch.maximum(red, green).clamp_min_(blue).sub_(low)
    below, above = low - chroma, low.add_(chroma, alpha=2)
    hue = (green + blue).sub_(red).sub_(below)
    # A grey pixel has no hue; with its chroma of 0 it needs none, only a finite number.
    hue.div_(chroma.clamp_min(1e-6)).copysign_(green - blue)
    # In turns, from 0 to 1.
    torch.add(1 + turns_N.view(-1, 1, 1), hue, alpha=1 / 6, out=hue).frac_()
    # Each channel is a trapezoid over the hue in sixths: red = low + chroma (clamp(|hue - 3|, 1, 2) - 1), green and
    # blue = low + chroma (2 - clamp(|hue - centre|, 1, 2)).
    ramp = torch.empty_like(hue)
    for plane, base, centre, sixths in ((red, below, 3, 6), (green, above, 2, -6), (blue, above, 4, -6)):
        torch.sub(hue, centre / 6, out=ramp)
        torch.addcmul(base, chroma, ramp.abs_().clamp_(1 / 6, 2 / 6), value=sixths, out=plane)


def gray(views_N3HW: Tensor) -> None:
    """Replace every channel by the luma."""
    views_N3HW.copy_(luma(views_N3HW).unsqueeze_(1))


def solarise(views_N3HW: Tensor) -> None:
    """Invert what rounds to 128 or more; 255 - x on that side is the mirror image in 127.5."""
    views_N3HW.sub_(127.5).abs_().neg_().add_(127.5)


def box_level(sigma_N: Tensor) -> Tensor:
    """How many whole pixels a box of the blur reaches, counting its edge; 0 where there is no blur. (N,) int64."""
    return torch.where(sigma_N > 0, ((4 * sigma_N.double() ** 2 + 1).sqrt() - 1).div(2).floor() + 1, 0).long()


def blur(views_N3HW: Tensor, sigma_N: Tensor) -> None:
    """Blur as PIL's `GaussianBlur(radius=sigma)`, with repeated edges.

    Sums of shifted planes: for the at most 13 taps of sigma 2 they take half the time of grouped convolutions on a
    processor, and on an accelerator no convolution of reduced precision can slip in.

    Args:
        views_N3HW: Values.
        sigma_N: In pixels, above 0, on the processor.
    """
    weights = _box_cubed(sigma_N).to(views_N3HW.device, non_blocking=True)
    radius = weights.shape[1] - 1
    # Planes as one line of pixels: a shift by a line's length is a shift down, and every operand is contiguous.
    padded = pad(views_N3HW, (radius,) * 4, mode="replicate")
    line = views_N3HW.shape[3] + 2 * radius
    down = _sum_shifted(padded.flatten(2), weights, line)
    across = _sum_shifted(down, weights, 1)
    # The last line ends where its right-hand edge would begin.
    views_N3HW.copy_(across.as_strided(views_N3HW.shape, (*across.stride()[:2], line, 1)))


def _box_cubed(sigma_N: Tensor) -> Tensor:
    """PIL's kernel, from its centre outwards: (N, radius + 1), float32, summing to 1 over both sides.

    Three boxes with fractional edges whose variances add up to sigma^2 (Gwosdek et al., Theoretical Foundations of
    Gaussian Convolution by Extended Box Filtering, 2011). A sampled Gaussian would lose the variance of small sigmas.
    """
    variance = sigma_N.double().unsqueeze(1) ** 2 / 3
    level = box_level(sigma_N)
    inner = level.unsqueeze(1) - 1
    edge = (2 * inner + 1) * (inner * (inner + 1) - 3 * variance) / (6 * (variance - (inner + 1) ** 2))
    radius = 3 * int(level.max())
    steps = torch.arange(2 * radius + 1)
    distance = torch.minimum(steps, 2 * radius + 1 - steps)
    box = (distance <= inner) + edge * (distance == inner + 1)
    # The circle is exactly as long as the cube of the longest box, so nothing wraps around.
    cubed = torch.fft.irfft(torch.fft.rfft(box / (2 * (inner + edge) + 1)) ** 3, len(steps))
    return cubed[:, : radius + 1].float()


def _sum_shifted(planes_N3L: Tensor, weights: Tensor, stride: int) -> Tensor:
    """Correlate with the symmetric weights (N, radius + 1) of taps `stride` apart, without the ends."""
    radius = weights.shape[1] - 1
    length = planes_N3L.shape[2] - 2 * radius * stride
    columns = weights.t().reshape(radius + 1, -1, 1, 1)
    out = planes_N3L.narrow(2, radius * stride, length) * columns[0]
    both = torch.empty_like(out)
    for step in range(1, radius + 1):
        before = planes_N3L.narrow(2, (radius - step) * stride, length)
        torch.add(before, planes_N3L.narrow(2, (radius + step) * stride, length), out=both)
        out.addcmul_(both, columns[step])
    return out
