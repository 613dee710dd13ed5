"""What a user may say about a source of images beside its name."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.options import Reading
from lowzoo.data.pixels.decode import Rules
from lowzoo.data.pixels.intensity import parse_intensity
from lowzoo.data.pixels.orientation import Orientation


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How the images of a source are found and read.

    Args:
        orientation: "exif" turns pictures as their camera noted, "stored" leaves them as the papers' loaders do.
        intensity: `auto`, `dtype` or `LOW,HIGH`: black and white of pictures with more than 8 bits.
        image_column: Column with the pictures of a table.
        label_column: Column with their classes.
        labels: A text or CSV file with a path and a class a line, for pictures that lie in one folder.
    """

    orientation: Orientation = "exif"
    intensity: str = "auto"
    image_column: str | None = None
    label_column: str | None = None
    labels: Path | None = None

    def rules(self) -> Rules:
        """How pictures are decoded, before the set has been measured.

        Raises:
            LowzooError: An impossible value.
        """
        if self.orientation not in ("exif", "stored"):
            raise LowzooError(f"an orientation of {self.orientation!r} is impossible", "Choose exif or stored")
        return Rules(self.orientation, parse_intensity(self.intensity))

    def chosen(self) -> dict[str, str]:
        """What differs from the default, as a command's options or a function's arguments take it."""
        return {
            field.name: str(value)
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


DEFAULT_OPTIONS = SourceOptions()


def source_options(reading: Reading) -> SourceOptions:
    """What a function of the package was told about its images."""
    given: dict[str, Any] = dict(reading)
    if given.get("labels") is not None:
        given["labels"] = Path(given["labels"])
    return SourceOptions(**given)
