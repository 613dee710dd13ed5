"""The names and shapes in a checkpoint, read without torch, which alone takes seconds to import.

A pickle is followed with nothing of it looked up: every class and function that it names is replaced here, by what
keeps a shape or by what keeps nothing. Whatever is not understood in full is left to torch: no outline is given.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from lowzoo.checkpoints.files.content import Outline, StandIn, module_tensors
from lowzoo.checkpoints.files.harmless import is_harmless
from lowzoo.io.files import plain_path

# Of torch's older form: magic number, version and machine come before the object.
_BEFORE = 3
# What of torch may stand in a checkpoint and is no tensor: these and the classes of modules and optimisers.
_NO_TENSOR = re.compile(
    r"torch\.(\w*Storage|storage\.\w+Storage|device|Size|bool|u?int\d+|float\d+|bfloat16|half|double|"
    r"(nn\.modules|optim)\..*|serialization\._get_layout)"
)


class _UndecidedError(Exception):
    """Only torch can tell what this is."""


class _Inert(dict[Any, Any], StandIn):
    """An object of any class: a dictionary as far as it is filled like one, which is what `torch_file` makes of it."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_Inert":
        return dict.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        dict.__init__(self)

    def append(self, item: Any) -> None:
        """Of a list by another name, which holds no network."""

    def extend(self, items: Iterable[Any]) -> None:
        """The same for several."""

    def add(self, item: Any) -> None:
        """The same of a set."""


class _Namespace(_Inert):
    """Command-line arguments, which say what a file was made for."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


def read_outline(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, with an `Outline` for each tensor; None where torch has to read it.

    Args:
        path: A file that `lowzoo.checkpoints.early.refuse_file` lets pass.
    """
    try:
        content = _read(path)
    except Exception:  # a damaged file shows in many ways, and torch has words for each
        return None
    if isinstance(content, StandIn):
        state = module_tensors(content)
        return None if state is None else {"model": state}
    return content if isinstance(content, dict) else None


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(plain_path(path), framework="numpy") as file:
            return {name: Outline(tuple(file.get_slice(name).get_shape())) for name in file.keys()}  # noqa: SIM118
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (inside,) = (name for name in names if name.endswith("data.pkl"))
            if any(name.endswith("constants.pkl") for name in names):
                raise _UndecidedError  # a program of TorchScript
            with archive.open(inside) as file:
                return _Reader(file).load()
    with path.open("rb") as file:
        for _ in range(_BEFORE):
            _Reader(file).load()
        return _Reader(file).load()


class _Reader(pickle.Unpickler):
    """Follows a pickle; nothing that it names is imported or called."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or a function."""
        whole = f"{module}.{name}"
        if whole in _STAND_FOR:
            return _STAND_FOR[whole]
        if not is_harmless(whole) or (module.partition(".")[0] == "torch" and not _NO_TENSOR.fullmatch(whole)):
            raise _UndecidedError(whole)
        return _Inert

    def persistent_load(self, pid: Any) -> None:
        """The bytes of a tensor, which are not read; a module with its source code is nobody's to take."""
        if not isinstance(pid, tuple) or pid[0] != "storage":
            raise _UndecidedError(pid)


def _tensor(_storage: Any, _offset: int, size: Iterable[int], *_: Any) -> Outline:
    return Outline(tuple(size))


def _same(value: Any, *_: Any) -> Any:
    return value


def _of_type(function: Any, _type: Any, arguments: Iterable[Any], *_: Any) -> Any:
    if function not in (_tensor, _same):
        raise _UndecidedError
    return function(*arguments)


_STAND_FOR: dict[str, Any] = {
    "argparse.Namespace": _Namespace,
    "collections.OrderedDict": OrderedDict,
    "builtins.dict": dict,
    "__builtin__.dict": dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.Size": tuple,
}
