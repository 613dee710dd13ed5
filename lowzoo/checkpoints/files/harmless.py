"""Which classes a checkpoint may name: plain data, and whatever is not the language's own.

Others' classes are never imported, see `lowzoo.checkpoints.files.torch_file`; of the standard library only what holds
data may be named.
"""

import _compat_pickle
import sys
from pathlib import Path

from lowzoo.base.errors import LowzooError

# Containers of the language that torch's own list of harmless classes lacks.
PLAIN = {
    kind.__name__: kind
    for kind in (
        object,
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        bytearray,
        tuple,
        list,
        dict,
        set,
        frozenset,
        slice,
        range,
    )
}
# Modules of the standard library whose objects trainers keep beside tensors; any other one has no business there.
_KNOWN_MODULES = {"argparse", "collections", "dataclasses", "datetime", "decimal", "enum", "functools", "pathlib"}
_STANDARD = sys.stdlib_module_names | _compat_pickle.IMPORT_MAPPING.keys()  # pickles use the names of Python 2
# What torch itself takes for harmless: text that holds bytes.
_TAKEN_BY_TORCH = {"_codecs.encode"}


def plain_name(name: str) -> str:
    """The name without the module of the language's own types."""
    return name.removeprefix("__builtin__.").removeprefix("builtins.")


def is_harmless(name: str) -> bool:
    """Whether a class, `module.name`, holds data alone or is never looked up."""
    name = plain_name(name) if plain_name(name) in PLAIN else name.removeprefix("__builtin__.")
    root = name.partition(".")[0]
    standard = root in _STANDARD or root in ("builtins", "__builtin__")
    return name in PLAIN or name in _TAKEN_BY_TORCH or ("." in name and (root in _KNOWN_MODULES or not standard))


def could_run_code(path: Path, name: str) -> LowzooError:
    """What to say of a file whose pickle names something beside tensors and plain data."""
    return LowzooError(
        f"{path} holds more than tensors ({name}) and could run code; it was not loaded",
        "Get the file from its publisher, or save the state dict alone",
    )
