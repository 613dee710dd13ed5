"""Which of timm's families export to which format, as `benchmarks/export_families.py` found it.

One architecture of each family was tried; that another one of it behaves alike is likely, not certain.
"""

import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from lowzoo.catalog.reader import read_toml

OK = "ok"


@dataclass(frozen=True, slots=True)
class FamilyEntry:
    """A family.

    Args:
        name: timm's module.
        tried: The architecture that was exported.
        results: For each format that was tried, "ok" or why not.
    """

    name: str
    tried: str
    results: dict[str, str]

    @property
    def good(self) -> tuple[str, ...]:
        """The formats that it exports to."""
        return tuple(format_ for format_, result in self.results.items() if result == OK)

    @property
    def bad(self) -> dict[str, str]:
        """The formats that it does not export to, with the reason."""
        return {format_: result for format_, result in self.results.items() if result != OK}

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"family": self.name, "tried": self.tried, "results": self.results}

    def sentence(self) -> str:
        """`onnx, coreml (tried on resnet10t); not litert: REASON`."""
        parts = [f"{', '.join(self.good) or 'nothing'} (family {self.name}, tried on {self.tried})"]
        return "; ".join([*parts, *(f"not {format_}: {reason}" for format_, reason in self.bad.items())])


@functools.cache
def families() -> dict[str, FamilyEntry]:
    """All families that were tried, by name."""
    return {
        name: FamilyEntry(name, str(table.pop("tried")), {key: str(value) for key, value in table.items()})
        for name, table in read_toml("families.toml").items()
    }


@functools.cache
def family_of(architecture: str) -> FamilyEntry | None:
    """The family of a timm architecture; None if it was not tried, or timm has no such architecture."""
    name = _module_of(architecture)
    return families().get(name) if name else None


def _module_of(architecture: str) -> str | None:
    """The module of timm that defines it, read from its text: to import timm takes seconds."""
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations or not architecture.isidentifier():
        return None
    definition = re.compile(rf"^def {architecture}\(", re.M)
    for file in sorted((Path(found.submodule_search_locations[0]) / "models").glob("*.py")):
        if definition.search(file.read_text(encoding="utf-8")):
            return file.stem
    return None
