"""Views: random crops of an image as pure functions of (image, parameters), parameters of (seed, epoch, index).

groups = [ViewGroup(name="global", count=2, size=224, scale=(0.25, 1.0), blur=(1.0, 0.1), solarise=(0.0, 0.2)),
          ViewGroup(name="local", count=8, size=96, scale=(0.05, 0.25), blur=(0.5,))]

# In a worker: uint8 planes, one array (count, 3, size, size) a group, and the rest of the parameters.
params = sample_params(groups, seed, epoch, index, *image_HWC.shape[:2])
crops = crop_views(image_HWC, params, groups)
to_the_device = crops, params.photometric                     # (V, 8) float32, V = 10, globals first

# On the device: any number of views of one size at once, each with its own row of parameters (kept on the CPU).
views = photometric(crops_N3SS, photometric_N8)               # (N, 3, S, S) float32, normalised
"""

from lowzoo.train.views.crops import crop_views
from lowzoo.train.views.params import ViewParams, sample_params
from lowzoo.train.views.photometric import photometric
from lowzoo.train.views.spec import IMAGENET_MEAN, IMAGENET_STD, ViewGroup

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ViewGroup", "ViewParams", "crop_views", "photometric", "sample_params"]
