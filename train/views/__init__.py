"""Views: random crops of an image as pure functions of (image, parameters), parameters of (seed, epoch, index).

    params = sample_params(groups, seed, epoch, index, height, width)    # anywhere
    crops = crop_views(image_HWC, params, groups)                        # a worker: uint8
    views = photometric(crops_NHWC, photometric_NP)                      # the device: float32, normalised, batched
"""

from lowzoo.train.views.crops import crop_views
from lowzoo.train.views.params import ViewParams, sample_params
from lowzoo.train.views.photometric import photometric
from lowzoo.train.views.spec import IMAGENET_MEAN, IMAGENET_STD, ViewGroup

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ViewGroup", "ViewParams", "crop_views", "photometric", "sample_params"]
