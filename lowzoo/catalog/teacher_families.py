"""Families of published teachers: how a checkpoint of each is split, and what its head can score.

A family is declared here without torch; what reads its files is named and imported when a file is read. Another package
declares a family, with its teachers, by an entry point of the group `lowzoo.teachers`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lowzoo.base.lazy import resolved_place
from lowzoo.base.registry import Registry

if TYPE_CHECKING:
    from lowzoo.catalog.entries import TeacherEntry


@dataclass(frozen=True)
class TeacherFamily:
    """One layout of checkpoints.

    Args:
        name: What an entry of the catalog calls it.
        split: Splits the content of a file into `lowzoo.checkpoints.families.family.Parts`, called with content
            and path; a function, or "module:function". Empty for teachers that are MODELs of their own.
        head: Makes a head for the head's tensors, not filled yet, and gives it with the width of what it gives;
            likewise. Raises `KeyError` or `ValueError` where they are no head of this family.
        prototypes: Whether the head ends in prototypes, and not in an embedding.
        patches: Whether it scores patches, too.
        teachers: Entries of the catalog that a plug-in adds.
    """

    name: str
    split: Callable[..., Any] | str = ""
    head: Callable[..., Any] | str = ""
    prototypes: bool = True
    patches: bool = False
    teachers: tuple["TeacherEntry", ...] = ()

    @property
    def published(self) -> bool:
        """Whether its teachers are files of their authors."""
        return bool(self.split)

    def splits(self) -> Callable[..., Any]:
        """The function that splits a file's content."""
        found: Callable[..., Any] = resolved_place(self.split)
        return found

    def makes_head(self) -> Callable[..., Any]:
        """The function that makes a head."""
        found: Callable[..., Any] = resolved_place(self.head)
        return found


_FAMILIES, _HEADS = "lowzoo.checkpoints.families", "lowzoo.train.teachers.published.heads"
ZOO = TeacherFamily("zoo", patches=True)
DINO = TeacherFamily("dino", f"{_FAMILIES}.dino:split", f"{_HEADS}:dino_head")
IBOT = TeacherFamily("ibot", f"{_FAMILIES}.dino:split", f"{_HEADS}:ibot_head", patches=True)
MSN = TeacherFamily("msn", f"{_FAMILIES}.msn:split", f"{_HEADS}:msn_head")
SWAV = TeacherFamily("swav", f"{_FAMILIES}.swav:split", f"{_HEADS}:swav_head")
MOCO = TeacherFamily("moco", f"{_FAMILIES}.moco:split", f"{_HEADS}:projection_head", prototypes=False)
SIMCLR = TeacherFamily("simclr", f"{_FAMILIES}.simclr:split", f"{_HEADS}:projection_head", prototypes=False)
MOBILENETV2_FLAT = TeacherFamily("mobilenetv2_flat", f"{_FAMILIES}.mobilenetv2_flat:split", f"{_HEADS}:projection_head")

TEACHER_FAMILIES: Registry[TeacherFamily] = Registry(
    TeacherFamily,
    "family of teachers",
    "lowzoo.teachers",
    {
        name: f"{__name__}:{name.upper()}"
        for name in ("zoo", "dino", "ibot", "msn", "swav", "moco", "simclr", "mobilenetv2_flat")
    },
)
