"""Which architectures there are, by their names alone, without importing timm."""

import functools
import importlib.util
import re
import sys
from pathlib import Path

from lowzoo import catalog


def knows_architecture(model_spec: str) -> bool:
    """Whether timm has, or may have, a network of that name, with or without a tag."""
    base = model_spec.removeprefix(catalog.PREFIX).partition(".")[0]
    if "timm" in sys.modules:  # where others may have registered networks of their own
        from timm.models import is_model

        return is_model(base) or base in catalog.students()
    return base in catalog.models() or base in catalog.students() or base in architectures()


@functools.cache
def architectures() -> frozenset[str]:
    """Names that timm and lowzoo register, old ones that timm still takes, and perhaps a few words too many."""
    names: set[str] = set()
    for package, room in (("timm", "models"), ("lowzoo", "zoo/architectures")):
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or ()) if found else ():
            for file in (Path(place) / room).rglob("*.py"):
                text = file.read_text(encoding="utf-8", errors="replace")
                names.update(re.findall(r"^def (\w+)\(", text, re.MULTILINE))
                for renamed in re.findall(r"register_model_deprecations\([^{]*\{(.*?)\}\s*\)", text, re.DOTALL):
                    names.update(re.findall(r"['\"](\w+)['\"]\s*:", renamed))
    return frozenset(name for name in names if not name.startswith("_"))
