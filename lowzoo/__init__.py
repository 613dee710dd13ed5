"""The zoo: low-compute vision backbones trained without labels, created through timm.

`import lowzoo` costs next to nothing: timm (and torch with it) is not imported here. The models are registered at the
moment timm itself is imported, whichever of the two is imported first; see `lowzoo.zoo.hook`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lowzoo.zoo.hook import register_with_timm

if TYPE_CHECKING:
    from lowzoo.api import create_model, list_models, load, model_info
    from lowzoo.embedding import embed

    __version__: str

__all__ = ["__version__", "create_model", "embed", "list_models", "load", "model_info"]
# What stands elsewhere than in `lowzoo.api`.
_PLACES = {"embed": "lowzoo.embedding"}
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
