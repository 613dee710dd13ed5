"""Registration of the zoo at the moment timm is imported.

timm finds third-party models only when their module is executed, and it has no entry points. Importing timm from
`lowzoo/__init__.py` would be the plain way, but then `lowzoo --help` would pay for torch (3.5 s). So a finder waits at
the front of `sys.meta_path` for the one name `timm` and lets `lowzoo.zoo.zoo.register` run right after timm's
own code.
"""

import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def register_with_timm() -> None:
    """Register the models now if timm is there, else as soon as it is imported; calling it again changes nothing."""
    if "timm" in sys.modules:
        from lowzoo.zoo.zoo import register

        register()
    elif not any(isinstance(finder, _TimmFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TimmFinder())


class _TimmFinder(MetaPathFinder):
    """Finds timm where the other finders find it, and wraps its loader."""

    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "timm" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        # Stay on the path: a look-up (`find_spec("timm")`) is not yet an import.
        if spec is not None and spec.loader is not None:
            spec.loader = _TimmLoader(spec.loader, self)
        return spec


class _TimmLoader(Loader):
    """Runs timm's own loader, then registers; every other question goes to timm's own loader."""

    def __init__(self, loader: Loader, finder: _TimmFinder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # In a notebook without ipywidgets tqdm, which the Hub's client brings along, asks for them when it is imported,
        # and that would stand above the first result.
        warnings.filterwarnings("ignore", message="IProgress not found")
        self._loader.exec_module(module)
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        from lowzoo.zoo.zoo import register

        register()
