"""The second part of a view: colour jitter, grey, blur, solarise, normalise, with parameters per image.

PIL rounds to uint8 after each operation, this does not; whole chains agree within 2/255 on average. An image's result
does not depend on the batch it is in.

A GPU works on whole batches (`batched`), a CPU on one image after another (`per_image`), which its
caches hold through some twenty passes. Both give the same values but for float32 rounding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowzoo.train.views import batched
from lowzoo.train.views.spec import IMAGENET_MEAN, IMAGENET_STD


def photometric(
    views_N3HW: Tensor,
    params_NP: Tensor,
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Finish N views of one size.

    Args:
        views_N3HW: uint8 RGB planes on the device.
        params_NP: Photometric parameters (N, 8), float32, on the CPU; see `ViewParams`.
        mean: Mean of the normalisation, of values in [0, 1].
        std: Standard deviation of the normalisation, of values in [0, 1].

    Returns:
        (N, 3, H, W) in torch's default type, normalised, on the device of the views.
    """
    if views_N3HW.device.type == "cpu":
        # Late: what imports this package has yet to say, in its own words, that OpenCV is missing.
        from lowzoo.train.views import per_image

        finished = per_image.change_colours(views_N3HW, params_NP, mean, std)
    else:
        finished = batched.change_colours(views_N3HW, params_NP, mean, std)
    return finished.to(torch.get_default_dtype())
