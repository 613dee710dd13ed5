"""Permutations of tensors of more than five dimensions, which Core ML does not have, by fewer dimensions.

Networks that cut maps into windows write view, permute, view: between the views, dimensions of size 1 mean nothing, and
neighbours that stay neighbours are one.
"""

from math import prod

import torch
from torch import fx
from torch.export import ExportedProgram

_MOST = 5
_VIEWS = (
    torch.ops.aten.view.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default,
)
_COPIES = (torch.ops.aten.clone.default, torch.ops.aten.contiguous.default)


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
