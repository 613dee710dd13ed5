"""What every command that reads images takes beside SRC."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions

Orientation = Annotated[
    str,
    typer.Option(
        metavar="exif|stored",
        help="Turn pictures as their camera noted, or leave them as they are stored, as the papers' loaders do.",
    ),
]
Intensity = Annotated[
    str,
    typer.Option(metavar="auto|dtype|LOW,HIGH", help="Black and white of pictures with more than 8 bits."),
]
ImageColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with the pictures of a table.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with their classes.")]
Labels = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Text or CSV with a path and a class a line, for a flat folder.")
]


def source_options(
    orientation: str, intensity: str, image_column: str | None, label_column: str | None, labels: Path | None
) -> "SourceOptions":
    """Put them together and check them.

    Raises:
        LowzooError: An impossible value.
    """
    from typing import cast

    from lowzoo.data.options import SourceOptions
    from lowzoo.data.orientation import Orientation as Word

    options = SourceOptions(cast(Word, orientation), intensity, image_column, label_column, labels)
    options.rules()
    return options
