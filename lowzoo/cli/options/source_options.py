"""The options that say how a source of images is read, the same for every command that takes one."""

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource

Orientation = Annotated[
    str,
    typer.Option(
        metavar="exif|stored",
        help="Turn photographs as their camera noted (exif), or leave them as stored, as the papers' loaders did.",
    ),
]
Intensity = Annotated[
    str,
    typer.Option(
        metavar="auto|dtype|LOW,HIGH",
        help="Black and white of pictures with more than 8 bits: found over the set, the type's range, or these two.",
    ),
]
ImageColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column of a table with the pictures.")]
LabelColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column of a table with the classes.")]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Text or CSV with a path and a class a line, for pictures without folders."),
]

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "orientation": (Orientation, "exif"),
    "intensity": (Intensity, "auto"),
    "image_column": (ImageColumn, None),
    "label_column": (LabelColumn, None),
    "labels": (Labels, None),
}


def reads_images(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options in place of its parameter `reading`, which gets their values.

    typer reads options from a signature and its annotations, so both are written anew.
    """
    parameters = list(inspect.signature(command).parameters.values())
    place = next(i for i, parameter in enumerate(parameters) if parameter.name == "reading")
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]
    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY if i > place else parameter.kind)
        for i, parameter in enumerate(parameters)
    ]

    @functools.wraps(command)
    def wrapped(*arguments: Any, **words: Any) -> None:
        from lowzoo.data.reading.options import SourceOptions

        given = {name: words.pop(name, default) for name, (_, default) in _OPTIONS.items()}
        command(*arguments, **words, reading=SourceOptions(**given))

    wrapped.__dict__["__signature__"] = inspect.Signature([*others[:place], *own, *others[place + 1 :]])
    kept = {name: kind for name, kind in command.__annotations__.items() if name != "reading"}
    wrapped.__annotations__ = kept | {name: annotation for name, (annotation, _) in _OPTIONS.items()}
    return wrapped


def say_found(*sources: "ImageSource", json: bool) -> None:
    """Print what sources were made from, each line once."""
    from lowzoo.base.printable import printable

    for line in dict.fromkeys(line for source in sources for line in source.found.lines()):
        print(printable(line), file=sys.stderr if json else sys.stdout)
