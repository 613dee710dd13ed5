"""From the TOML files to entries: defaults, and the sets of weights that are only planned."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from lowzoo.catalog.entries import Metric
from lowzoo.catalog.model_entries import ModelEntry, WeightsEntry

_MODEL_FILES = ("models.toml", "models_sslight.toml", "models_seed.toml")


def read_toml(name: str) -> dict[str, Any]:
    """The content of one file of this folder."""
    return tomllib.loads(files("lowzoo.catalog").joinpath(name).read_text(encoding="utf-8"))


def frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry, less its figures; lists as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "metrics"}


def metrics(table: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The figures of an entry."""
    return tuple(Metric(**metric) for metric in table.get("metrics", ()))


def read_models() -> dict[str, ModelEntry]:
    """All models by name, in the order of the files."""
    return {name: _model(name, table) for file in _MODEL_FILES for name, table in read_toml(file).items()}


def _model(name: str, table: dict[str, Any]) -> ModelEntry:
    defaults = table.pop("defaults", {})
    sets = [*table.pop("weights", []), *_planned(table["recipe"], table["student"], table.pop("planned", []))]
    weights = tuple(WeightsEntry(**frozen({**defaults, **one}), metrics=metrics(one)) for one in sets)
    return ModelEntry(name=name, weights=weights, **frozen(table))


def _planned(recipe: str, student: str, tables: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One unpublished set of weights a teacher, with the command that trains it."""
    for table in tables:
        suffix = f"_{table['suffix']}" if "suffix" in table else ""
        for teacher in table["teachers"]:
            yield {
                "tag": f"{teacher}{suffix}_in1k",
                "origin": "unpublished",
                "summary": f"What the paper's configuration of {table['objective']} trains from the teacher {teacher}.",
                "teacher": teacher,
                "objective": table["objective"],
                "epochs": table["epochs"],
                "train": (
                    f"lowzoo train {recipe} --preset {table['preset']} --student {student} --teacher {teacher} "
                    "--data DIR"
                ),
            }
