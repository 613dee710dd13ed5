"""From torch's operators to those that coremltools takes.

What it does not take is decomposed by torch's own rules, whatever operator that is; what stays then is refused by name.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from lowzoo.errors import LowzooError
from lowzoo.export.coreml_ranks import lower_ranks


def for_coreml(program: ExportedProgram) -> ExportedProgram:
    """Decompose what coremltools does not know, and nothing else.

    Raises:
        LowzooError: Operators remain that it does not know.
    """
    lowered: ExportedProgram = program.run_decompositions(_table())
    lower_ranks(lowered)
    left = sorted({str(node.target) for node in lowered.graph.nodes if node.op == "call_function" and _unknown(node)})
    if left:
        raise LowzooError(f"coremltools knows no {', '.join(name.removesuffix('.default') for name in left)}", "")
    return lowered


def _table() -> dict[Any, Callable[..., Any]]:
    from torch._decomp import decomposition_table

    core = torch.export.default_decompositions()
    # The core ones last, as the others may end in operators of a lower kind.
    found: dict[Any, Callable[..., Any]] = {**decomposition_table, **{operator: core[operator] for operator in core}}
    table = {operator: rule for operator, rule in found.items() if not known(operator)}
    return table | {
        # torch's own rule for a view of everything leads to another operator that is not known.
        torch.ops.aten.alias.default: lambda x: x.clone(),
        torch.ops.aten.unfold.default: _unfold,
        # coremltools makes it an inverse, which adds 1e-4 to x.
        torch.ops.aten.reciprocal.default: lambda x: (torch.ones(1, dtype=x.dtype) / x).reshape(x.shape),
    }


def _unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows along a dimension, each at the end: a gather, where torch's own rule reads memory by strides."""
    if x.ndim == 0:
        return x.reshape(1)
    along = dimension % x.ndim
    count = (x.shape[along] - size) // step + 1
    places = (torch.arange(count)[:, None] * step + torch.arange(size)).reshape(-1)
    windows: Tensor = x.index_select(along, places).unflatten(along, (count, size)).movedim(along + 1, -1)
    return windows


def known(operator: Any) -> bool:
    """Whether coremltools converts an operator of torch."""
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    return _TORCH_OPS_REGISTRY.get_func(getattr(operator, "__name__", str(operator))) is not None


def _unknown(node: torch.fx.Node) -> bool:
    return not known(node.target)
