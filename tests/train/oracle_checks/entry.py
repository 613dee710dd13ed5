"""One entry of an oracle folder, and which check belongs to it.

A check says by `@checks(...)` which symbols of the original code it reproduces. An entry goes to the check that covers
most of its symbols; its name plays no part. Every number that an entry expects must be compared: `finish` fails on
those that the check left out, so an entry cannot pass half.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

EXPECTED = {"output", "grad"}
# Only the check of several processes reproduces it.
GATHER = "concat_all_gather"
_CHECKS: dict[frozenset[str], Callable[["Entry"], None]] = {}

Check = Callable[["Entry"], None]


class Entry:
    """Inputs, settings and expected numbers.

    Args:
        folder: Folder of the oracles.
        record: Record of the entry in oracles.json.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.record = record
        self.settings: dict[str, Any] = record["hyper_parameters"]
        self.scalars: dict[str, Any] = record["scalars"]
        self.tolerance: dict[str, Any] = record["tolerance"]
        self.symbols = symbols_of(record)
        tensors = load_file(folder / record["file"]) if record["file"] else {}
        # In fp64 whatever the original ran in: what is compared is the method, not the rounding.
        self.tensors = {key: value.double() if value.is_floating_point() else value for key, value in tensors.items()}
        self._open = {key for key, facts in record["tensors"].items() if facts["role"] in EXPECTED}
        self._open |= {f"scalar {key}" for key in self.scalars}

    def __getitem__(self, key: str) -> Tensor:
        """A tensor that the entry gives."""
        return self.tensors[key]

    def views(self, key: str, count: int) -> Tensor:
        """A view-major tensor (V * B, ...) as (V, B, ...)."""
        return self.tensors[key].unflatten(0, (count, -1))

    def leaf(self, key: str, count: int = 0) -> Tensor:
        """An input that gets a gradient; split into `count` views if that is not 0."""
        return (self.views(key, count) if count else self.tensors[key]).clone().requires_grad_()

    def has(self, key: str) -> bool:
        """Whether a tensor or scalar of that name is part of the entry."""
        return key in self.tensors or key in self.scalars

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def expect(self, key: str, value: Tensor | float | None, **tolerance: float) -> None:
        """Compare with the tensor or scalar `key`, in the entry's tolerance; nothing happens where it has none."""
        assert value is not None, f"nothing was computed for {key}"
        if key in self.tensors:
            wanted = self.tensors[key]
            self._open.discard(key)
        elif key in self.scalars:
            wanted = torch.as_tensor(self.scalars[key], dtype=torch.float64)
            self._open.discard(f"scalar {key}")
        else:
            return
        found = torch.as_tensor(value, dtype=wanted.dtype).detach().reshape(wanted.shape)
        bounds = tolerance or {name: self.tolerance[name] for name in ("rtol", "atol")}
        assert_close(found, wanted, **bounds, msg=lambda text: f"{key}: {text}")

    def skip(self, *keys: str) -> None:
        """Leave out numbers that are about something else than the code under test; say beside the call what."""
        self._open -= {f"scalar {key}" for key in keys} | set(keys)

    def finish(self) -> None:
        """Fail on expected numbers that were not compared."""
        assert not self._open, f"not compared: {', '.join(sorted(self._open))}"


def read(folder: Path) -> list[dict[str, Any]]:
    """The records of an oracle folder."""
    records: list[dict[str, Any]] = json.loads((folder / "oracles.json").read_text(encoding="utf-8"))["oracles"]
    return records


def symbols_of(record: dict[str, Any]) -> frozenset[str]:
    """The names in `source[].symbol`, without arguments and remarks: "A(x=1), which ..., B" holds A and B."""
    found = set()
    for source in record["source"]:
        for part in re.sub(r"\(.*?\)", "", source["symbol"]).split(","):
            if name := re.fullmatch(r"\s*([A-Za-z_][\w.]*)\s*", part):
                found.add(name[1])
    return frozenset(found)


def checks(*symbols: str) -> Callable[[Check], Check]:
    """Register a check for the entries of these symbols."""

    def register(check: Check) -> Check:
        key = frozenset(symbols)
        assert key not in _CHECKS, f"two checks for {sorted(key)}"
        _CHECKS[key] = check
        return check

    return register


def check_for(entry: Entry) -> Check:
    """The check that covers all of an entry's symbols, and the fewest others if there is a choice.

    An entry about several processes goes to the one check that starts them.

    Raises:
        LookupError: No check covers them.
    """
    several = entry.settings.get("world_size", 1) > 1
    fitting = [key for key in _CHECKS if key >= entry.symbols and (GATHER in key) == several]
    if not entry.symbols or not fitting:
        names = ", ".join(sorted(entry.symbols)) or "an entry without symbols"
        raise LookupError(f"no check reproduces {names}")
    return _CHECKS[min(fitting, key=len)]
