"""Why a file does not compute what PyTorch computes, where the reason is the network's and not the exporter's.

Two are common: values that float16 cannot hold, and a network so unstable that float32 itself, in PyTorch, is far from
float64. Both are measured on real images.
"""

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lowzoo.export.parity.checker import ParityChecker, compared, torch_outputs
from lowzoo.export.parity.parity import broken, together
from lowzoo.export.spec.bounds import BOUNDS, Bounds, ParityError
from lowzoo.export.spec.spec import EXACT
from lowzoo.preprocess.transform import preprocess

_LARGEST_HALF = 65504.0
# What stands for minus infinity in a mask is meant to overflow.
_MASK = 1e30
_IMAGES = 8
REPORT = "please report the model and the versions of torch and of the runtime"


def diagnosis(checker: ParityChecker, precision: str, bounds: Bounds) -> tuple[str, str]:
    """Why a file of this precision is wrong, and what to do.

    Args:
        checker: ParityChecker of the network.
        precision: Precision of the file.
        bounds: That it broke.

    Returns:
        A clause for the message, empty if the network gives no reason, and the remedy.
    """
    if precision not in EXACT:
        return "", "allow more by --max-loss or name another precision"
    if precision == "fp16":
        if beyond := _beyond_half(checker):
            where, value = beyond
            return (
                f"float16 overflows: {where} gives values up to {value:.3g}, and float16 ends at {_LARGEST_HALF:.0f}",
                "export it with --precision fp32",
            )
        return "", "float16 rounds too coarsely for this network; export it with --precision fp32"
    off = _float32_error(checker)
    if off is None:
        return "", REPORT
    error, cosine, wrong = off
    limit = bounds.relative_error or BOUNDS["fp32"].relative_error or 0.0
    if wrong or error > limit / 2:
        return (
            f"the network is unstable in float32 by itself: PyTorch's own float32 is off from float64 by a relative "
            f"{error:.2e} (smallest cosine {cosine:.6f})",
            "check the weights, or train it further; no file can agree with numbers that rounding alone moves",
        )
    return "", f"PyTorch's own float32 is off from float64 by {error:.2e} alone; {REPORT}"


def why(
    error: ParityError, checker: ParityChecker, precision: str, bounds: Bounds, batch: int | str
) -> tuple[str, str]:
    """As `diagnosis`, for an error of comparing or of running a file that has just been written."""
    if not all(np.isfinite(output).all() for output in checker.reference):
        return "", "check the weights: PyTorch's own features are not finite"
    if not error.remedy:  # it ran, and what it gave was compared
        return diagnosis(checker, precision, bounds)
    return "", f"{'try --batch 1, or ' if batch != 1 else ''}name another --precision or --format, and {REPORT}"


def _float32_error(checker: ParityChecker) -> tuple[float, float, bool] | None:
    """How far PyTorch's float32 is from its float64; None where the network cannot be had in float64."""
    resolved = checker.resolved
    try:
        exact = dataclasses.replace(resolved, model=copy.deepcopy(resolved.model).double())
        parity = together(compared(resolved, torch_outputs(exact, checker.images), checker.reference, ""))
    except Exception:  # a network may be tied to float32 in ways of its own, and the reason sought is then not this one
        return None
    bounds = dataclasses.replace(BOUNDS["fp32"], knn_loss=None)
    return parity.relative_error, parity.min_cosine, bool(broken(parity, bounds))


def _beyond_half(checker: ParityChecker) -> tuple[str, float] | None:
    """The first module, in float32, that gives more than float16 holds, and the largest value it gives."""
    resolved = checker.resolved
    names = {module: name for name, module in resolved.model.named_modules()}
    for name, tensor in resolved.model.state_dict().items():
        if tensor.is_floating_point() and tensor.numel() and tensor.abs().max() > _LARGEST_HALF:
            return f"the tensor {name}", float(tensor.abs().max())
    watch = _Watch(names)
    handles = [module.register_forward_pre_hook(watch.enter) for module in names]
    handles += [module.register_forward_hook(watch.leave, always_call=True) for module in names]
    try:
        with torch.inference_mode(), watch:
            for image in checker.images[:_IMAGES]:
                resolved.model(preprocess(image, resolved)[None])
    finally:
        for handle in handles:
            handle.remove()
    return watch.first


class _Watch(TorchDispatchMode):
    """Keeps the first place whose results float16 cannot hold."""

    def __init__(self, names: Mapping[nn.Module, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names
        self.within: list[nn.Module] = []
        self.first: tuple[str, float] | None = None

    def enter(self, module: nn.Module, _: Any) -> None:
        self.within.append(module)

    def leave(self, *_: Any) -> None:
        self.within.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in _tensors(found):
            if tensor.is_floating_point() and tensor.numel():
                largest = float(tensor.abs().amax())
                if _LARGEST_HALF < largest < _MASK:
                    place = self.names.get(self.within[-1], "") if self.within else ""
                    named = f"{place or 'the network'} ({getattr(func, '__name__', func)})"
                    if self.first is None or (self.first[0] == named and largest > self.first[1]):
                        self.first = named, largest
        return found


def _tensors(found: Any) -> Iterable[Tensor]:
    parts = found if isinstance(found, tuple | list) else (found,)
    return (part for part in parts if isinstance(part, Tensor))
