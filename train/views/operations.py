"""The photometric operations of `batched`: in place, on planes of values in [0, 255], one parameter an image.

Semantics are those of torchvision's functional transforms and PIL's filters, without the rounding to uint8.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

LUMA = (0.299, 0.587, 0.114)


def luma(views_N3HW: Tensor) -> Tensor:
    """Brightness as PIL's mode "L" weighs it, (N, H, W)."""
    red, green, blue = views_N3HW.unbind(1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


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
    """Shift the hue in HSV by a fraction of a full turn; value and saturation stay.

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


def blur(views_N3HW: Tensor, kernels_NK: Tensor) -> None:
    """Correlate with a symmetric kernel along both axes; edges are repeated, as PIL does.

    Sums of shifted planes: no convolution of reduced precision can slip in.

    Args:
        views_N3HW: Values.
        kernels_NK: From the centre outwards, of `gaussian_kernels`; K - 1 is the radius in pixels.
    """
    radius = kernels_NK.shape[1] - 1
    # Planes as one line of pixels: a shift by a line's length is a shift down, and every operand is contiguous.
    padded = pad(views_N3HW, (radius,) * 4, mode="replicate")
    line = views_N3HW.shape[3] + 2 * radius
    down = _sum_shifted(padded.flatten(2), kernels_NK, line)
    across = _sum_shifted(down, kernels_NK, 1)
    # The last line ends where its right-hand edge would begin.
    views_N3HW.copy_(across.as_strided(views_N3HW.shape, (*across.stride()[:2], line, 1)))


def gaussian_kernels(sigma_N: Tensor) -> tuple[Tensor, list[int]]:
    """The kernels of PIL's `GaussianBlur(radius=sigma)`: three boxes with fractional edges, convolved.

    Gwosdek et al., Theoretical Foundations of Gaussian Convolution by Extended Box Filtering, 2011; the variances of
    the boxes add up to sigma^2, where a sampled Gaussian loses the variance of a small sigma. PIL repeats the edge
    before each box, the whole kernel meets it once: only the outermost two pixels tell.

    Args:
        sigma_N: In pixels, on the CPU; 0 is no blur.

    Returns:
        Kernels (N, K) float32 from the centre outwards, summing to 1 over both sides, and their radii, 0 for no blur.
    """
    if not len(sigma_N):
        return torch.zeros(0, 1), []  # an empty transform is an error in some versions of MKL
    variance = sigma_N.double().unsqueeze(1) ** 2 / 3
    whole = ((12 * variance + 1).sqrt() - 1).div(2).floor()
    outer = whole + 1
    edge = (2 * whole + 1) * (whole * outer - 3 * variance) / (6 * (variance - outer**2))
    radii = 3 * outer[:, 0].long() * (sigma_N > 0)
    radius = int(radii.max())
    steps = torch.arange(2 * radius + 1)
    distance = torch.minimum(steps, 2 * radius + 1 - steps)
    box = (distance <= whole) + edge * (distance == outer)
    # The circle is as long as the longest cube of a box, so nothing wraps around.
    cubed = torch.fft.irfft(torch.fft.rfft(box / (2 * (whole + edge) + 1)) ** 3, len(steps))
    return cubed[:, : radius + 1].float(), radii.tolist()


def _sum_shifted(planes_N3L: Tensor, kernels_NK: Tensor, stride: int) -> Tensor:
    """Correlate with taps `stride` apart, without the ends."""
    radius = kernels_NK.shape[1] - 1
    length = planes_N3L.shape[2] - 2 * radius * stride
    columns = kernels_NK.t().reshape(radius + 1, -1, 1, 1)
    out = planes_N3L.narrow(2, radius * stride, length) * columns[0]
    both = torch.empty_like(out)
    for step in range(1, radius + 1):
        before = planes_N3L.narrow(2, (radius - step) * stride, length)
        torch.add(before, planes_N3L.narrow(2, (radius + step) * stride, length), out=both)
        out.addcmul_(both, columns[step])
    return out
