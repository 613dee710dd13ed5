"""The zoo: low-compute vision backbones trained without labels, created through timm.

`import lowzoo` costs next to nothing: timm (and torch with it) is not imported here. The models are registered at the
moment timm itself is imported, whichever of the two is imported first; see `lowzoo.zoo.hook`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lowzoo.zoo.hook import register_with_timm

if TYPE_CHECKING:
    from lowzoo.api import create_model, list_models, load, model_info
    from lowzoo.conversion import convert
    from lowzoo.embedding import embed
    from lowzoo.inspect.functions import data_report
    from lowzoo.zoo.publishing import publish
    from lowzoo.zoo.teachers import teachers

    __version__: str

__all__ = [
    "__version__",
    "convert",
    "create_model",
    "data_report",
    "embed",
    "list_models",
    "load",
    "model_info",
    "publish",
    "teachers",
]
# What stands elsewhere than in `lowzoo.api`.
_PLACES = {
    "convert": "lowzoo.conversion",
    "data_report": "lowzoo.inspect.functions",
    "embed": "lowzoo.embedding",
    "publish": "lowzoo.zoo.publishing",
    "teachers": "lowzoo.zoo.teachers",
}
_PACKAGES = ("bench", "demo", "evaluate", "export", "train")

register_with_timm()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lowzoo")
    if name in __all__:
        return getattr(import_module(_PLACES.get(name, "lowzoo.api")), name)
    if name in _PACKAGES:
        return import_module(f"lowzoo.{name}")
    raise AttributeError(f"module 'lowzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
