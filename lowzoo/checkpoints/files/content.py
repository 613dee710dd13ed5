"""What lies in a checkpoint, by name and shape: the same whether torch read the tensors or their outlines are known.

A content is what a file holds: dictionaries in dictionaries, with tensors, or an `Outline` in place of each.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What torch.compile, FSDP and activation checkpointing write between the names of a network.
_WRAPPERS = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
_DEEPEST = 8


@dataclass(frozen=True)
class Outline:
    """Stands for a tensor whose values were not read.

    Args:
        shape: Its sizes.
    """

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __getitem__(self, index: tuple[slice | None, ...]) -> "Outline":
        """Further dimensions of size 1, which is all that anybody does here: `x[:, :, None, None]`."""
        sizes = iter(self.shape)
        return Outline(tuple(1 if each is None else next(sizes) for each in index) + tuple(sizes))


class StandIn:
    """Takes the place of an object whose class is somebody else's: keeps its state and does nothing.

    Trainers keep hyper-parameters, callbacks and whole modules beside the tensors. Their classes are neither imported
    nor looked up, so that nothing of them can run.
    """

    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> "StandIn":
        """Take any arguments."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor, or the outline of one; torch is asked only where it is there."""
    torch = sys.modules.get("torch")
    return isinstance(value, Outline) or (torch is not None and isinstance(value, torch.Tensor))


def module_tensors(module: StandIn, prefix: str = "") -> dict[str, Any] | None:
    """Parameters and buffers of a module that was saved whole, by the names of its state dict; None if it is none."""
    parts = module.state
    if not isinstance(parts, Mapping) or not isinstance(parts.get("_modules"), Mapping):
        return None
    found: dict[str, Any] = {}
    for kind in ("_parameters", "_buffers"):
        entries = parts.get(kind)
        for name, value in entries.items() if isinstance(entries, Mapping) else ():
            if is_tensor(value):
                found[f"{prefix}{name}"] = value
    for name, child in parts["_modules"].items():
        if isinstance(child, StandIn):
            found |= module_tensors(child, f"{prefix}{name}.") or {}
    return found


def without_module(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the `module.` that data-parallel training writes before every key, however often."""
    return {re.sub(r"^(module\.)+", "", key): value for key, value in state.items()}


def branches(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dictionary of tensors in a file, with its place there."""
    if isinstance(content, StandIn) and (state := module_tensors(content)):
        yield place, _unwrapped(state)
        return
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and is_tensor(value)}
    if tensors:
        yield place, _unwrapped(tensors)
    for key, value in content.items():
        if isinstance(key, str) and not is_tensor(value):
            yield from branches(value, f"{place}.{key}" if place else key, depth + 1)


def beside(
    content: Any, taken: Mapping[str, Any], places: Sequence[str] = (), around: Sequence[Any] = ()
) -> Counter[str]:
    """What a file holds beside a network that was taken from it, by place; the number of tensors of each.

    Args:
        content: Content of the file.
        taken: The network's tensors, the very objects that stand in `content`.
        places: Where other copies of it lie, which count as told.
        around: Tensors of a copy that lies below no name, which count as told as well.
    """
    own = {id(value) for value in taken.values()}
    told = {id(value) for value in around}
    everything = [
        (f"{place}.{name}".lstrip(".").split("."), id(value))
        for place, state in branches(content)
        for name, value in state.items()
    ]
    copies = [place.split(".") for place in places]
    place = _shared(*(parts for parts, mark in everything if mark in own))
    counts: Counter[str] = Counter()
    for parts, mark in everything:
        if mark in own or mark in told or any(parts[: len(copy)] == copy for copy in copies):
            continue
        if parts[: len(place)] == place:
            counts[parts[len(place)]] += 1
        else:  # as far as it is the way to the network or to another copy, and one step more
            counts[".".join(parts[: 1 + max(len(_shared(parts, each)) for each in (place, *copies))])] += 1
    return counts


def in_words(counts: Mapping[str, int]) -> str:
    """`fc (2 tensors), head (8 tensors)`; empty for nothing."""
    return ", ".join(f"{name} ({count} tensor{'s' if count > 1 else ''})" for name, count in sorted(counts.items()))


def shape_text(shape: Sequence[int]) -> str:
    """`64 x 3 x 7 x 7`."""
    return " x ".join(map(str, shape)) or "a number"


def _shared(*names: Sequence[str]) -> list[str]:
    """The first parts that all of the names have in common."""
    shared = []
    for parts in zip(*names, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


def _unwrapped(state: Mapping[str, Any]) -> dict[str, Any]:
    return {_WRAPPERS.sub("", f".{key}").removeprefix("."): value for key, value in state.items()}
