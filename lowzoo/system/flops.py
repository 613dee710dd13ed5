"""Floating-point operations of a step, two for a product and its sum; where torch's own formulas are wrong, ours."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    conv_flop_count,
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
    shape_wrapper,
)


def _attention_flops(query: Any, key: Any, value: Any, *_others: Any, **_named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward_flops(grad: Any, query: Any, key: Any, value: Any, *_others: Any, **_named: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


def _backward_flops(
    grad: Any,
    x: Any,
    weight: Any,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
    out_shape: Any = None,
) -> int:
    """FLOPs of a convolution's backward pass: the forward pass's, once for each gradient of input and weight."""
    return int(conv_flop_count(list(x), list(weight), list(grad), transposed=transposed)) * sum(wanted[:2])


_FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.convolution_backward: _backward_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


def arithmetic() -> FlopCounterMode:
    """Counts the operations of what runs inside it, two for a product and its sum.

    torch 2.15's formula for the backward pass forgets a convolution's groups in the gradient of the weight: a depthwise
    layer counted as many times as it has channels. Versions before 2.15 do not count fused attention on the CPU.
    """
    return FlopCounterMode(display=False, custom_mapping=_FORMULAS)


def operations_of(operator: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> int:
    """Operations of one call, by the same formulas; 0 for what has none.

    Args:
        operator: An operator of torch without its overload, such as `torch.ops.aten.mm`.
        args: What it was called with.
        kwargs: As `args`.
        result: What it gave.
    """
    if operator in _FORMULAS:
        return int(shape_wrapper(_FORMULAS[operator])(*args, **kwargs, out_val=result))
    formula = flop_registry.get(operator)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=result))
