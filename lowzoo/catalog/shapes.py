"""Names and shapes of the tensors of timm's architectures, so that what does not fit is refused without building one.

They stand in `shapes.zip`, which `benchmarks/architecture_shapes.py` writes: a member for each of timm's modules, with
a line for each different state dict, headless. A normalisation layer is written `name*C`, a weight with its bias
`name+AxB`, any other tensor `name:AxB`.
"""

import functools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Protocol

FILE = "shapes.zip"
INDEX = "index"
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_NORMS = re.compile(
    r"(\S+)\.weight:(\d+) \1\.bias:\2 \1\.running_mean:\2 \1\.running_var:\2 \1\.num_batches_tracked:(?= |$)"
)
_BIASED = re.compile(r"(\S+)\.weight:(\d+)(\S*) \1\.bias:\2(?= |$)")


class Shaped(Protocol):
    """A tensor, or its outline."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes; a tuple, as torch's own kind is."""

    @property
    def ndim(self) -> int:
        """How many there are."""


@dataclass(frozen=True)
class Skeleton:
    """Names and shapes of a headless architecture, and what the rest of a file is judged by.

    Args:
        shapes: Shapes of every tensor of the state dict.
        classifiers: What the classifier is called that the network has not.
        prefix_tokens: Position embeddings before those of the patches.
        patch: Side of a patch in pixels; None for a network without patches.
        fixed: Whether the network is made for one size of images.
    """

    shapes: Mapping[str, tuple[int, ...]]
    classifiers: tuple[str, ...] = ()
    prefix_tokens: int = 0
    patch: int | None = None
    fixed: bool = False

    def grid_side(self, found: Shaped, shape: tuple[int, ...]) -> int:
        """Patches along the side of images that position embeddings were made for; 0 if they are of no square grid."""
        if found.ndim != 3 or len(shape) != 3 or found.shape[-1] != shape[-1]:
            return 0
        patches = found.shape[1] - self.prefix_tokens
        side = int(max(patches, 0) ** 0.5)
        return side if self.patch and side * side == patches else 0

    def encode(self) -> str:
        """A line of the file."""
        text = " ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in self.shapes.items())
        text = _BIASED.sub(r"\1+\2\3", _NORMS.sub(r"\1*\2", text))
        facts = (",".join(self.classifiers), str(self.prefix_tokens), str(self.patch or ""), "1" if self.fixed else "")
        return "|".join([*facts, text])

    @classmethod
    def decode(cls, line: str) -> "Skeleton":
        """What `encode` wrote."""
        classifiers, tokens, patch, fixed, text = line.split("|")
        shapes: dict[str, tuple[int, ...]] = {}
        for word in text.split():
            name, kind, sizes = re.fullmatch(r"(.*)([*+:])([\dx]*)", word).groups()  # type: ignore[union-attr]
            shape = tuple(int(size) for size in sizes.split("x")) if sizes else ()
            if kind == ":":
                shapes[name] = shape
            elif kind == "+":
                shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
            else:
                shapes |= {f"{name}.{part}": shape if part != _NORM[-1] else () for part in _NORM}
        return cls(
            shapes,
            tuple(filter(None, classifiers.split(","))),
            int(tokens),
            int(patch) if patch else None,
            bool(fixed),
        )


@functools.cache
def known_skeleton(architecture: str) -> Skeleton | None:
    """Names and shapes of an architecture, without a tag; None if the timm that is here may have others."""
    if (place := _index().get(architecture)) is None:
        return None
    member, line = place
    return Skeleton.decode(_member(member)[line])


def known_architectures() -> list[str]:
    """Those of which the file tells; empty if the timm that is here may have others."""
    return list(_index())


@functools.cache
def _index() -> dict[str, tuple[str, int]]:
    """The member and the line of each architecture; empty for a timm that the file was not compared with."""
    from packaging.version import InvalidVersion, Version

    first, *rest = _member(INDEX)
    oldest, newest = first.split()
    try:
        here = Version(version("timm"))
        if not Version(oldest) <= here <= Version(newest):
            return {}
    except (PackageNotFoundError, InvalidVersion):
        return {}
    found = {}
    for text in rest:
        name, member, line, *only = text.split()
        if not only or here == Version(only[0]):
            found[name] = (member, int(line))
    return found


@functools.cache
def _member(name: str) -> list[str]:
    with files("lowzoo.catalog").joinpath(FILE).open("rb") as file, zipfile.ZipFile(file) as archive:
        return archive.read(name).decode().splitlines()
