"""Weights of an fp16 program for XNNPACK, in the type that they have.

ExecuTorch stores the weights of every convolution in float32, whatever they are in, so that a ResNet in fp16 is as
large as in fp32. XNNPACK computes a convolution by weights of float16 as well; a transposed one it refuses when the
program is loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from lowzoo.export.artifacts.float32_left import Float32Left, weights_in

TRANSPOSED_KEPT = "XNNPACK takes those of transposed convolutions in no other type"
_TRANSPOSED = 6  # place of that argument of a convolution


def weights_of(module: nn.Module) -> Float32Left:
    """Weights of a module that is to become a program, as they are in it."""
    held = (*module.parameters(), *module.buffers())
    floats = (torch.float16, torch.float32)
    return Float32Left.among((tuple(each.shape), each.dtype == floats[1]) for each in held if each.dtype in floats)


@contextmanager
def halves_stay() -> Iterator[dict[str, int]]:
    """Have the lowering inside store weights of float16 as such; gives the numbers of those that it cannot, by name."""
    from executorch.backends.xnnpack.operators.node_visitor import NodeVisitor
    from executorch.backends.xnnpack.utils.utils import get_param_tensor, is_param_node

    define = NodeVisitor.define_tensor
    kept: dict[str, int] = {}

    def defined(self: Any, tensor: Any, *given: Any, force_fp32: bool = False, **named: Any) -> None:
        if force_fp32 and is_param_node(self.exported_program, tensor):
            constant: Tensor = get_param_tensor(self.exported_program, tensor)
            if constant.dtype == torch.float16:
                force_fp32 = any(len(user.args) > _TRANSPOSED and user.args[_TRANSPOSED] for user in tensor.users)
                if force_fp32:
                    kept[tensor.name] = weights_in(tuple(constant.shape))
        define(self, tensor, *given, force_fp32=force_fp32, **named)

    with mock.patch.object(NodeVisitor, "define_tensor", defined):
        yield kept
