"""What a function's signature and docstring cannot say of an argument that the command line takes too.

A public function is documented in one place: types and defaults in its signature, a line for each argument under
`Args:`. `lowzoo.cli.options.from_signature` makes a command of that. An argument that Python takes as an object and the
command line as text says so here, inside `Annotated`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.data.source import ImageSource
    from lowzoo.evaluate.knn_protocol import TrainTestData
    from lowzoo.zoo.resolve import Resolved

Reader = Callable[[str, str], Any]
"""Takes the text and the option's name, and gives the value."""


@dataclass(frozen=True)
class Option:
    """How the command line takes one argument.

    Args:
        *names: Names of the option, such as "--for"; made of the argument's name if none is given.
        metavar: What stands for the value in the help.
        read: Turns the text into the value; a function, or "module:function" for one that is imported when it is used.
        early: Looks at the text before anything heavy is imported, and gives it back or refuses it.
        minimum: Least number.
        maximum: Greatest number.
        default: The default, where the signature cannot say it (an entry of a `TypedDict`).
        names_from: "module:attribute" of a registry whose names the help lists after the argument's line.
    """

    names: tuple[str, ...] = ()
    metavar: str | None = None
    read: Reader | str | None = None
    early: Callable[[Any], Any] | str | None = None
    minimum: float | None = None
    maximum: float | None = None
    default: Any = None
    names_from: str = ""

    def __init__(
        self,
        *names: str,
        metavar: str | None = None,
        read: Reader | str | None = None,
        early: Callable[[Any], Any] | str | None = None,
        minimum: float | None = None,
        maximum: float | None = None,
        default: Any = None,
        names_from: str = "",
    ) -> None:
        given = locals()
        for field in self.__dataclass_fields__:
            object.__setattr__(self, field, given[field])

    def __repr__(self) -> str:
        """What is said, and no more: it stands in the signatures that `help` and notebooks show."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return (
            f"Option({', '.join(f'{name}={value!r}' for name, value in said.items() if value not in ((), None, ''))})"
        )


@dataclass(frozen=True)
class PythonOnly:
    """Marks an argument that the command line does not have."""


PYTHON_ONLY = PythonOnly()

Progress = Annotated[Callable[[str], None] | None, PYTHON_ONLY]
"""Takes each line of what is being done, such as `print`; None is silent."""

Divide = Annotated[bool, PYTHON_ONLY]
"""Divide the work among the processes that torchrun started, all of which then make this call; commands always do."""

Data = Annotated["str | Path | Sequence[Any] | ImageSource | TrainTestData | None", Option(metavar="SRC")]
Model = Annotated[
    "str | Path | nn.Module | Resolved", Option(metavar="MODEL", early="lowzoo.checkpoints.early:refuse_early")
]
Side = Annotated[
    int | tuple[int, int] | None,
    Option("--image-size", "--size", metavar="PX|HxW", read="lowzoo.preprocess.input_facts:parse_size"),
]
Workers = Annotated[int, Option(minimum=0)]
Seed = Annotated[int, Option(minimum=0)]
Count = Annotated[int | None, Option(metavar="N", minimum=1)]
Repeats = Annotated[int, Option(metavar="N", minimum=1)]
Fraction = Annotated[float, Option(metavar="F")]
SplitLists = Annotated[Sequence[str | Path], Option(metavar="FILE")]
Augment = Annotated[bool | None, Option("--augment/--cached")]
Picture = Annotated[str | Path | None, Option(metavar="FILE.png", read="lowzoo.cli.options.places:file_to_write")]
OutFile = Annotated[str | Path | None, Option(metavar="FILE", read="lowzoo.cli.options.places:file_to_write")]


class Reading(TypedDict, total=False):
    """How the images of a source are found and read.

    Args:
        orientation: Turn photographs as their camera noted (exif), or leave them as stored, as the papers' loaders did.
        intensity: Black and white of pictures with more than 8 bits: found over the set, the type's range, or these
            two.
        image_column: Column of a table with the pictures.
        label_column: Column of a table with the classes.
        labels: Text or CSV with a path and a class a line, for pictures without folders.
    """

    orientation: Annotated[Literal["exif", "stored"], Option(metavar="exif|stored", default="exif")]
    intensity: Annotated[str, Option(metavar="auto|dtype|LOW,HIGH", default="auto")]
    image_column: Annotated[str | None, Option(metavar="NAME")]
    label_column: Annotated[str | None, Option(metavar="NAME")]
    labels: Annotated[str | Path | None, Option(metavar="FILE")]


def read_numbers(text: str, option: str) -> tuple[float, ...]:
    """Read a list such as 0.1,0.3.

    Raises:
        LowzooError: Something else.
    """
    from lowzoo.base.errors import LowzooError

    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise LowzooError(f"{option} {text} is no list of numbers", f"Write for example {option} 0.1,0.3") from None


def read_whole_numbers(text: str, option: str) -> tuple[int, ...]:
    """Read a list such as 10,20.

    Raises:
        LowzooError: Something else.
    """
    from lowzoo.base.errors import LowzooError

    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise LowzooError(f"{option} {text} is no list of whole numbers", f"Write for example {option} 10,20") from None


def read_words(text: str, option: str) -> tuple[str, ...]:
    """Read a list of words such as own,cls."""
    return tuple(text.split(","))


def read_literally(text: str, _: str) -> str:
    """The text itself, for an argument that the function reads."""
    return text
