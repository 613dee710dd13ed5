"""The traced program of a module, with everything that is known at export computed once.

A network that takes several sizes resamples its position embeddings in every run; others gather relative positions,
standardise kernels or compute coordinates. The size of a file is fixed, so what depends on weights alone is folded into
the weights: the file is quicker, carries no table that only feeds another, and has none of the operators (a bicubic
resize with antialiasing) that converters refuse.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

# What only turns or copies a tensor is left to the converters, which fold it by themselves.
_VIEWS = {
    "t", "transpose", "permute", "view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "expand", "alias", "clone",
    "detach", "detach_", "lift_fresh_copy", "to", "_to_copy", "contiguous", "flatten", "unflatten", "select", "slice",
    "empty", "zeros", "ones", "full", "arange", "scalar_tensor", "chunk", "split", "split_with_sizes", "unbind",
    "getitem",
}  # fmt: skip
_ONLY_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)
# Dimensions of queries, keys and values that converters know.
_ATTENDED = 4
# A folded tensor may be this many numbers, or twice what it is made of.
_SMALL = 2**20


def traced(module: nn.Module, example: Tensor, dynamic_shapes: Any = None) -> ExportedProgram:
    """Export a module with its constants folded.

    Args:
        module: In eval mode.
        example: Its one input.
        dynamic_shapes: Dynamic dimensions of the input, as torch.export takes them.
    """
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic_shapes)
        graph = program.module()
        assert isinstance(graph, fx.GraphModule)
        if _writes_into_constants(graph):
            # As a program without such writes, in which a node has one value.
            graph = program.run_decompositions({}).module()
            assert isinstance(graph, fx.GraphModule)
        if fold_constants(graph):
            program = torch.export.export(graph, (example,), dynamic_shapes=dynamic_shapes)
        return _as_converters_take_it(program)


def _as_converters_take_it(program: ExportedProgram) -> ExportedProgram:
    """With reshapes in place of views, whose strides change as a converter decomposes the rest, and flat attention."""
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target in _ONLY_VIEWS:
            node.target = torch.ops.aten.reshape.default
        elif node.target is torch.ops.aten.scaled_dot_product_attention.default:
            _flatten_attention(program.graph, node)
    program.graph_module.recompile()
    return program


def _flatten_attention(graph: fx.Graph, node: fx.Node) -> None:
    """Let attention over windows, of more than four dimensions, be one over as many images; masks are left alone."""
    tensors: list[Any] = list(node.args[:3])
    masked = len(node.args) > 3 and node.args[3] is not None
    shape = list(node.meta["val"].shape)
    if len(shape) <= _ATTENDED or masked or node.kwargs.get("attn_mask") is not None:
        return
    if any(each.meta["val"].ndim != len(shape) for each in tensors) or any(
        each.meta["val"].shape[: 1 - _ATTENDED] != tensors[0].meta["val"].shape[: 1 - _ATTENDED] for each in tensors
    ):
        return
    extra = len(shape) - _ATTENDED
    with graph.inserting_before(node):
        flat = [graph.call_function(torch.ops.aten.flatten.using_ints, (each, 0, extra)) for each in tensors]
        for ours, theirs in zip(flat, tensors, strict=True):
            ours.meta = {"val": theirs.meta["val"].flatten(0, extra)}
    node.args = (*flat, *node.args[3:])
    # Of the sizes, only the first may be that of a dynamic batch.
    with graph.inserting_after(node):
        back = graph.call_function(torch.ops.aten.reshape.default, (node, [-1, *shape[1:]]))
    back.meta = {"val": node.meta["val"]}
    node.meta = {**node.meta, "val": node.meta["val"].flatten(0, extra)}
    node.replace_all_uses_with(back, delete_user_cb=lambda user: user is not back)


def fold_constants(graph: fx.GraphModule) -> int:
    """Compute, in place, what depends on weights alone; give the number of tensors that came out of it."""
    values: dict[fx.Node, Any] = {}
    worked: dict[fx.Node, bool] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            values[node], worked[node] = _attribute(graph, str(node.target)), False
        elif _may_fold(node, values):
            found = _computed(node, values)
            if found is not None:
                values[node] = found
                worked[node] = any(worked[each] for each in node.all_input_nodes) or _name(node) not in _VIEWS
    made = 0
    for node, value in values.items():
        if not worked[node] or not isinstance(value, Tensor) or all(user in values for user in node.users):
            continue
        name = f"folded_{made}"
        made += 1
        graph.register_buffer(name, value.detach().clone().contiguous())
        with graph.graph.inserting_before(node):
            constant = graph.graph.get_attr(name)
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in values)
    if made:
        graph.graph.eliminate_dead_code()
        graph.delete_all_unused_submodules()
        _drop_unused(graph)
        graph.recompile()
    return made


def _writes_into_constants(graph: fx.GraphModule) -> bool:
    """Whether something is written, in place, into a tensor that depends on weights alone or on nothing."""
    known: set[fx.Node] = set()
    for node in graph.graph.nodes:
        if node.op == "call_function" and _is_mutable(node) and any(each in known for each in node.all_input_nodes):
            return True
        if node.op == "get_attr" or (
            node.op == "call_function" and all(each in known for each in node.all_input_nodes)
        ):
            known.add(node)
    return False


def _is_mutable(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _may_fold(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    if node.op != "call_function" or not all(each in values for each in node.all_input_nodes):
        return False
    if isinstance(node.target, torch._ops.OpOverload):
        if node.target.namespace != "aten":
            return False  # a dequantisation above all: folded, it would leave float weights in an int8 file
        return torch.Tag.nondeterministic_seeded not in node.target.tags and not _is_mutable(node)
    return _name(node) == "getitem"


def _name(node: fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.rpartition("::")[2]
    return getattr(target, "__name__", str(target))


def _computed(node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    """The node's value; None where it cannot be had here, or would make the file larger for little."""
    assert callable(node.target)
    arguments, named = fx.map_arg((node.args, node.kwargs), lambda each: values[each])
    try:
        found = node.target(*arguments, **named)
    except Exception:  # a kernel that this CPU lacks: the program then computes it, or its converter says so
        return None
    if isinstance(found, Tensor):
        given = sum(values[each].numel() for each in node.all_input_nodes if isinstance(values[each], Tensor))
        return found if found.numel() <= max(_SMALL, 2 * given) else None
    return found


def _attribute(graph: nn.Module, target: str) -> Any:
    value: Any = graph
    for part in target.split("."):
        value = getattr(value, part)
    return value


def _drop_unused(graph: fx.GraphModule) -> None:
    """Remove the weights that nothing reads any more."""
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for owner_name, owner in list(graph.named_modules()):
        for store in (owner._parameters, owner._buffers):
            for name in list(store):
                if ".".join(filter(None, (owner_name, name))) not in used:
                    delattr(owner, name)
