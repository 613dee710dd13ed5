"""The catalog: facts of models, weights, recipes and teachers, as data, with one reader.

The facts stand in the TOML files beside this one. `lowzoo list`, `lowzoo info`, the registration with timm and the
model cards all read them here. Nothing in this room imports torch.
"""

import dataclasses
import functools
from typing import Any

from lowzoo.base.errors import LowzooError, near_matches
from lowzoo.base.notes import say_once
from lowzoo.catalog.entries import LatencyEntry, Metric, RecipeEntry, TeacherEntry
from lowzoo.catalog.model_entries import ModelEntry, WeightsEntry
from lowzoo.catalog.reader import frozen, metrics, read_models, read_toml
from lowzoo.catalog.teacher_families import TEACHER_FAMILIES, TeacherFamily

__all__ = [
    "PREFIX",
    "TEACHER_FAMILIES",
    "LatencyEntry",
    "Metric",
    "ModelEntry",
    "RecipeEntry",
    "TeacherEntry",
    "TeacherFamily",
    "WeightsEntry",
    "describe",
    "find",
    "latencies",
    "latencies_of",
    "model",
    "models",
    "near_matches",
    "recipes",
    "student_architecture",
    "students",
    "teacher",
    "teachers",
]

PREFIX = "lowzoo/"
# What the networks of some architectures cost, they cost under another name, which the latencies stand under.
_SAME_COST = {"tf_efficientnet_b0": "efficientnet_b0", "tf_efficientnet_b1": "efficientnet_b1"}


@functools.cache
def models() -> dict[str, ModelEntry]:
    """All models by name."""
    return read_models()


@functools.cache
def teachers() -> dict[str, TeacherEntry]:
    """All teachers by name, those of other packages last."""
    known = {
        name: TeacherEntry(name=name, **frozen(table), metrics=metrics(table))
        for name, table in read_toml("teachers.toml").items()
    }
    for family in TEACHER_FAMILIES.specs():
        for entry in family.teachers:
            if known.setdefault(entry.name, entry) is not entry:
                whose = TEACHER_FAMILIES.origin(family.name)
                say_once(f"the teacher {entry.name} of {whose} is left out: there is one of that name")
    return known


@functools.cache
def recipes() -> dict[str, RecipeEntry]:
    """All recipes by name."""
    return {
        name: RecipeEntry(name=name, **frozen(table)) for name, table in read_toml("recipes.toml")["recipes"].items()
    }


@functools.cache
def students() -> dict[str, str]:
    """The timm architecture for each short name of a student."""
    return dict(read_toml("recipes.toml")["students"])


@functools.cache
def latencies() -> tuple[LatencyEntry, ...]:
    """All latencies, of every architecture and device."""
    files = ("latencies_npu.toml", "latencies.toml")
    return tuple(LatencyEntry(**frozen(row)) for file in files for row in read_toml(file)["latency"])


def latencies_of(entry: ModelEntry) -> list[LatencyEntry]:
    """All latencies of a model's architecture."""
    architecture = _SAME_COST.get(entry.architecture, entry.architecture)
    return [row for row in latencies() if row.architecture == architecture]


def student_architecture(student: str, recipe: str) -> str:
    """The name to create the student of a recipe with (headless).

    Where the zoo has `<recipe>_<student>` and its network is not timm's at every size, that is the zoo's own name: the
    features then are the ones that the recipe trains. A word that is no short name is given back as it is.

    Args:
        student: A short name such as `vit_tiny`, or any timm architecture.
        recipe: Name of the recipe.
    """
    entry = models().get(f"{recipe}_{student}")
    if entry is not None and entry.builder:
        return entry.name
    return students().get(student, student)


def find(name: str) -> tuple[ModelEntry, WeightsEntry]:
    """The model and the set of weights that a name means.

    Args:
        name: `model` or `model.tag`, with or without `lowzoo/`.

    Raises:
        LowzooError: No such model or tag; the near names are in the message.
    """
    base, _, tag = name.removeprefix(PREFIX).partition(".")
    entry = models().get(base)
    if entry is None:
        raise LowzooError(
            f"unknown model {name}{near_matches(base, models())}", "See `lowzoo list` for the models there are"
        )
    if not tag:
        return entry, entry.default
    for weights in entry.weights:
        if weights.tag == tag:
            return entry, weights
    raise LowzooError(
        f"{base} has no weights named {tag}{near_matches(tag, entry.tags)}",
        f"Take one of {', '.join(entry.tags)}, or no tag for the first of them",
    )


def model(name: str) -> ModelEntry:
    """The model that a name means; see `find`."""
    return find(name)[0]


def teacher(name: str) -> TeacherEntry:
    """The teacher of that name.

    Raises:
        LowzooError: No such teacher; the near names are in the message.
    """
    entry = teachers().get(name)
    if entry is None:
        raise LowzooError(
            f"unknown teacher {name}{near_matches(name, teachers())}",
            f"Take one of {', '.join(teachers())}",
        )
    return entry


def describe(name: str) -> dict[str, Any]:
    """What is known of one model and one set of its weights, as plain data (JSON-ready)."""
    entry, weights = find(name)
    model_facts = {key: value for key, value in dataclasses.asdict(entry).items() if key != "weights"}
    # A signature is of use to a download only, and makes an address unreadable.
    weights_facts = dataclasses.asdict(weights) | {"url": weights.plain_url}
    rows = latencies_of(entry)
    return {
        "id": f"{entry.name}.{weights.tag}",
        "default": weights is entry.default,
        "tags": list(entry.tags),
        **_plain(model_facts),
        "recipe": _plain(dataclasses.asdict(recipes()[entry.recipe])),
        "weights": _plain(weights_facts) | {"available": weights.available},
        **({"teacher": _plain(dataclasses.asdict(teacher(weights.teacher)))} if weights.teacher else {}),
        **({"latencies": [_plain(dataclasses.asdict(row)) for row in rows]} if rows else {}),
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, facts that are not known left out."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item not in ("", None, (), [])}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
