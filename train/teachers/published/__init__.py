"""Teachers as their authors published them: backbone and head by name.

`lowzoo.checkpoints.families` splits a file into the tensors of the backbone and those of the head. The head is built
from the shapes in the file; whatever the wanted branch holds has to find its place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.catalog import TEACHER_FAMILIES, TeacherEntry
from lowzoo.checkpoints.families.family import Parts
from lowzoo.checkpoints.files.torch_file import fill, read_torch_file
from lowzoo.io.safetensors_file import check_safetensors
from lowzoo.train.teachers.published.backbones import build_backbone


class Published(NamedTuple):
    """A teacher from its file, in eval mode.

    Args:
        backbone: Headless.
        head: Its own; None where it was not wanted.
        outputs: Width of what the head gives: prototypes K, or the embedding's width where there are none.
    """

    backbone: nn.Module
    head: nn.Module | None
    outputs: int


def _read(path: Path) -> dict[str, Any]:
    """The tensors of a torch file, or of a bundled one."""
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    check_safetensors(path)
    return dict(load_file(path))


def load_published(path: Path, entry: TeacherEntry, *, with_head: bool = True) -> Published:
    """Backbone and head of a catalog teacher.

    Args:
        path: Path of the teacher's file.
        entry: What the catalog says of it.
        with_head: False leaves the head out, and takes a file that has none.

    Raises:
        LowzooError: The file is damaged, could run code, has another layout, no head, or does not fit.
    """
    parts = split(entry.family, _read(path), path)
    if with_head and not parts.head:
        raise LowzooError(
            f"{path} has no projection head, and teacher {entry.name} needs one",
            f"Use the publisher's {entry.file}, which has it, or --teacher-head fitted"
            if entry.head_included
            else "Use --teacher-head fitted to fit prototypes to its embeddings, or choose another teacher",
        )
    backbone = build_backbone(entry)
    fill(backbone, parts.backbone, path, f"the backbone of {entry.name}")
    if not with_head:
        return Published(backbone.eval(), None, 0)
    head, outputs = build_head(entry.family, parts.head, path)
    fill(head, parts.head, path, f"the head of {entry.name}")
    if head.in_dim != entry.feature_dim:
        raise LowzooError(
            f"the head in {path} takes {head.in_dim} features, and {entry.name} has {entry.feature_dim}",
            "Name the right file",
        )
    return Published(backbone.eval(), head.eval(), outputs)


def split(family: str, content: Mapping[str, Any], path: Path) -> Parts:
    """The content of a file, as its family has it.

    Raises:
        LowzooError: It has another layout.
    """
    parts: Parts = TEACHER_FAMILIES[family].splits()(content, path)
    return parts


def build_head(family: str, state: Mapping[str, Tensor], path: Path) -> tuple[Any, int]:
    """A head of the right widths, not yet filled, and the width of what it gives.

    Args:
        family: Name of the teacher's family.
        state: The head's tensors.
        path: The file, for the message.

    Raises:
        LowzooError: The tensors are no head of this family.
    """
    try:
        made: tuple[nn.Module, int] = TEACHER_FAMILIES[family].makes_head()(state)
    except (KeyError, ValueError) as error:
        raise LowzooError(
            f"the head in {path} is none of family {family} ({error} is not as expected)", "Name the right file"
        ) from error
    return made
