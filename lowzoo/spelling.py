"""The spelling `timm.create_model("lowzoo/NAME")`.

timm up to 1.0.28 drops whatever stands before a slash, so that `lowzoo/x` means any model called x; timm from 1.0.29
on raises ValueError for a slash without a scheme, and offers no way to add a scheme. One spelling has to work on both,
so the function of timm that takes a name apart learns the one prefix `lowzoo/`. Every other name reaches timm's own
function untouched.
"""

import functools

import timm.models
from timm.models import _factory

from lowzoo import catalog


def install() -> None:
    """Teach timm the prefix; calling it again changes nothing."""
    original = _factory.parse_model_name
    if getattr(original, "knows_lowzoo", False):
        return

    @functools.wraps(original)
    def parse_model_name(model_name: str) -> tuple[str | None, str]:
        if not (isinstance(model_name, str) and model_name.startswith(catalog.PREFIX)):
            name: tuple[str | None, str] = original(model_name)
            return name
        catalog.find(model_name)
        return None, model_name.removeprefix(catalog.PREFIX)

    parse_model_name.knows_lowzoo = True  # type: ignore[attr-defined]  # a mark on a function has no declaration
    _factory.parse_model_name = parse_model_name
    timm.models.parse_model_name = parse_model_name
