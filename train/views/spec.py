"""What a group of views is, as data: every recipe's augmentation is a list of such groups, globals first."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Probability = Annotated[float, Field(ge=0, le=1)]
Area = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(ge=0.01, le=100)]
Strength = Annotated[float, Field(ge=0, le=1)]
HueStrength = Annotated[float, Field(ge=0, le=0.5)]
Sigma = Annotated[float, Field(gt=0, le=10)]


class ViewGroup(BaseModel):
    """`count` random views of one size, each cropped, flipped, jittered, greyed, blurred and solarised at random.

    The defaults are those that RoB, SEED and SSLight share (torchvision's semantics of every operation). `blur` and
    `solarise` hold one probability for the whole group or one for each of its views.

    Args:
        name: "global" or "local".
        count: Views per image.
        size: Side in pixels.
        scale: Fraction of the image's area that a crop covers, (low, high).
        ratio: Aspect ratio of a crop, (low, high), drawn log-uniformly.
        flip: Probability of a horizontal flip.
        jitter_p: Probability of the colour jitter.
        jitter: Strength s of brightness, contrast, saturation (factors 1 - s to 1 + s) and hue (shift -s to s turns).
        gray: Probability of losing the colour.
        blur: Probability of the Gaussian blur.
        blur_sigma: Its standard deviation in pixels, (low, high).
        solarise: Probability of inverting all values from 128 on.
        interpolation: Filter of the resize, widened where a crop shrinks as PIL does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["global", "local"]
    count: PositiveInt
    size: Annotated[int, Field(ge=8, le=1024)]
    scale: tuple[Area, Area]
    ratio: tuple[Ratio, Ratio] = (3 / 4, 4 / 3)
    flip: Probability = 0.5
    jitter_p: Probability = 0.8
    jitter: tuple[Strength, Strength, Strength, HueStrength] = (0.4, 0.4, 0.4, 0.1)
    gray: Probability = 0.2
    blur: tuple[Probability, ...] = (0.0,)
    blur_sigma: tuple[Sigma, Sigma] = (0.1, 2.0)
    solarise: tuple[Probability, ...] = (0.0,)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field in ("scale", "ratio", "blur_sigma"):
            low, high = getattr(self, field)
            if low > high:
                raise ValueError(f"{field} must run from low to high, not from {low} to {high}")
        for field in ("blur", "solarise"):
            if len(getattr(self, field)) not in (1, self.count):
                raise ValueError(f"{field} needs one probability or one for each of the {self.count} views")
        return self
