"""Sizes of views that patches of student and teacher divide: checked where the user named them, chosen where not."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.preprocess.sizes import common_step, nearest_sizes, patch_side
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.settings.config import read_toml
from lowzoo.zoo.find import architecture_of


def fitting_views(
    config: TrainConfig, named: frozenset[str], say: Callable[[str], None]
) -> list[dict[str, Any]] | None:
    """The groups of views with sizes that fit, or None where they fit as they are.

    Args:
        config: Configuration of the run.
        named: Groups whose size the user has named.
        say: Told what was changed.

    Raises:
        LowzooError: A size that the user named fits not; the nearest ones that do are named.
    """
    student = _patch(catalog.student_architecture(config.student, config.recipe))
    teacher = _teacher_patch(config)
    groups, changed = [], False
    for number, group in enumerate(config.views):
        seen = number == 0 or config.needs.local_targets
        step = common_step(student, teacher if seen else 1)
        fields = group.model_dump(mode="json", exclude_none=True)
        if group.size % step:
            near = nearest_sizes(group.size, step)
            why = f"patches of {student} px ({config.student})"
            if seen and teacher > 1 and config.taught is not None:
                why += f" and {teacher} px ({config.taught.teacher})"
            if group.name in named:
                raise LowzooError(
                    f"{group.name} views of {group.size} px cannot be divided into {why}",
                    f"Add --set view.{group.name}.size={' or '.join(map(str, near))}",
                )
            say(f"{group.name.capitalize()} views have {near[0]} px instead of {group.size}, to fit {why}")
            fields["size"], changed = near[0], True
        groups.append(fields)
    return groups if changed else None


def sizes_named(file: Path | None, settings: Sequence[str], names: Sequence[str]) -> frozenset[str]:
    """Groups of views whose size a configuration file or a setting names."""
    found: set[str] = set()
    if file is not None:
        content: Mapping[str, Any] = read_toml(file)
        found |= set(names) if "views" in content else set()
        found |= {name for name, table in content.get("view", {}).items() if "size" in table}
    for setting in settings:
        key = setting.partition("=")[0].strip().split(".")
        if key[0] == "views":
            found |= set(names)
        elif len(key) == 3 and key[0] == "view" and key[2] == "size":
            found.add(key[1])
    return frozenset(found)


def _teacher_patch(config: TrainConfig) -> int:
    if config.taught is None or config.taught.teacher_size:
        return 1  # there is no teacher, or views are resized for it
    word = config.taught.teacher
    entry = catalog.teachers().get(word)
    if entry is not None and catalog.TEACHER_FAMILIES[entry.family].published:
        return entry.patch_size or _patch(entry.architecture)
    try:
        return _patch(architecture_of(entry.model if entry else word))
    except LowzooError:  # said where the teacher is loaded
        return 1


def _patch(architecture: str) -> int:
    """Side of the patches of an architecture; 1 for an unknown one, which is refused elsewhere."""
    if not timm.is_model(architecture):
        return 1
    try:
        with torch.device("meta"):
            return patch_side(timm.create_model(architecture, num_classes=0))
    except Exception:  # some architectures compute with their own tensors as they are built
        return patch_side(timm.create_model(architecture, num_classes=0))
