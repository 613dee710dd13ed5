"""From a picture to a network's input, as one object that data workers and torchvision's data sets take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.channels import decode_channels
from lowzoo.data.source import images_of
from lowzoo.preprocess.transform import InputSpec, Preprocessing, preprocess


@dataclass(frozen=True)
class Transform:
    """Decode, resize, crop and normalise, as evaluation does.

    Args:
        spec: What the network wants to be fed.
    """

    spec: Preprocessing

    @classmethod
    def of(cls, spec: InputSpec) -> Self:
        """The transform of a network."""
        return cls(Preprocessing.of(spec))

    def __call__(self, image: Any) -> Tensor:
        """Give (C, H, W) float32.

        Args:
            image: The path of a file, a PIL image, an array (h, w, 3) or (h, w) of uint8, or a tensor (3, h, w) of
                uint8 or of floats in 0 to 1.

        Raises:
            LowzooError: It is no picture, or cannot be read.
        """
        return preprocess(self._pixels(image), self.spec)

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        channels = self.spec.input_size[0]
        if isinstance(image, (str, Path)):
            try:
                content = Path(image).read_bytes()
            except OSError as error:
                raise LowzooError(f"{image} cannot be read ({error.strerror})", "Name a picture") from error
            return decode_channels(content, str(image), channels).pixels
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            return image
        return images_of([image]).decoded(0, channels=channels).pixels
