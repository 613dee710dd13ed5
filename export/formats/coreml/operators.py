"""From torch's operators to those that coremltools takes.

What it does not take is decomposed by torch's own rules, whatever operator that is; what stays then is refused by name.

Permutations of tensors of more than five dimensions, which Core ML does not have, by fewer dimensions.

Networks that cut maps into windows write view, permute, view: between the views, dimensions of size 1 mean nothing, and
neighbours that stay neighbours are one.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from lowzoo.base.errors import LowzooError

_MOST = 5
_VIEWS = (
    torch.ops.aten.view.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default,
)
_COPIES = (torch.ops.aten.clone.default, torch.ops.aten.contiguous.default)


def for_coreml(program: ExportedProgram) -> ExportedProgram:
    """Decompose what coremltools does not know, and nothing else.

    Raises:
        LowzooError: Operators remain that it does not know.
    """
    lowered: ExportedProgram = program.run_decompositions(_table())
    lower_ranks(lowered)
    left = sorted({str(node.target) for node in lowered.graph.nodes if node.op == "call_function" and _unknown(node)})
    if left:
        names = ", ".join(name.removesuffix(".default").partition(".")[2] for name in left)
        raise LowzooError(f"it uses torch's {names}, which coremltools does not know", "")
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


def lower_ranks(program: ExportedProgram) -> int:
    """Rewrite, in place, the permutations that can be; give their number."""
    graph, made = program.graph, 0
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.permute.default:
            continue
        source, order = node.args[0], list(node.args[1])
        shape = list(source.meta["val"].shape)
        if len(shape) <= _MOST or not _only_viewed(node):
            continue
        sizes, merged = merge(shape, [axis % len(shape) for axis in order])
        if len(sizes) > _MOST:
            continue
        whole = source
        while whole.target in _VIEWS:
            whole = whole.args[0]
        with graph.inserting_before(node):
            narrow = graph.call_function(torch.ops.aten.reshape.default, (whole, sizes))
            turned = graph.call_function(torch.ops.aten.permute.default, (narrow, merged))
        narrow.meta = {"val": node.meta["val"].new_empty(sizes)}
        turned.meta = {"val": node.meta["val"].new_empty([sizes[axis] for axis in merged])}
        node.replace_all_uses_with(turned)
        _shape_copies(turned)
        made += 1
    if made:
        graph.eliminate_dead_code()
        program.graph_module.recompile()
    return made


def merge(shape: list[int], order: list[int]) -> tuple[list[int], list[int]]:
    """The same permutation of fewer dimensions.

    Args:
        shape: Sizes before it.
        order: Which dimension comes where, as torch's `permute` has it.

    Returns:
        Sizes and order that give the same numbers one after another.
    """
    kept = [axis for axis in order if shape[axis] != 1]
    present = sorted(kept)
    runs: list[list[int]] = []
    for axis in kept:
        follows = runs and present.index(axis) == present.index(runs[-1][-1]) + 1
        runs[-1].append(axis) if follows else runs.append([axis])
    places = sorted(range(len(runs)), key=lambda run: runs[run][0])
    sizes = [prod(shape[axis] for axis in runs[run]) for run in places]
    return sizes or [1], [places.index(run) for run in range(len(runs))] or [0]


def _only_viewed(node: fx.Node) -> bool:
    """Whether everything that reads a node gives its numbers another shape, perhaps after a copy."""
    return all(user.target in _VIEWS or (user.target in _COPIES and _only_viewed(user)) for user in node.users)


def _shape_copies(node: fx.Node) -> None:
    """Let copies of a node have its shape."""
    for user in node.users:
        if user.target in _COPIES:
            user.meta["val"] = node.meta["val"]
            _shape_copies(user)
