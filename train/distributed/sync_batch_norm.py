"""Batch norm over all processes, also on CPUs, where torch's own does not run."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lowzoo.train.kernels.precision import full


class _Gathered(torch.autograd.Function):
    """What all processes bring, (P, ...); the gradient of a part is the sum of what all make of it."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        return torch.stack(parts)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


class ProcessorSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose mean and variance are those of the batch of all processes; each holds as many images.

    A copy of the layer it replaces: same parameters, same buffers, same state dict.
    """

    def _check_input_dim(self, _input: Tensor) -> None:
        """Any number of dimensions from two on."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        if not self.training or not dist.is_initialized():
            plain: Tensor = super().forward(input)
            return plain
        axes = [0, *range(2, input.dim())]
        x = full(input)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        shape = (1, -1, *[1] * (x.dim() - 2))
        # One message a layer: the moments of the whole from those of its parts, which holds no difference of squares.
        variances, means = torch.var_mean(x, axes, correction=0)
        gathered: Tensor = _Gathered.apply(torch.stack((means, variances)))
        means, variances = gathered.unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._update(mean.detach(), variance.detach() * (count / max(1, count - 1)))
        out = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        normalised: Tensor = out.to(input.dtype)
        return normalised

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def synchronise_batch_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch norm by one over all processes; timm's norms with an activation keep it."""
    if device.type != "cpu":
        from timm.layers import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(module)
        return converted
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, _replacement(child))
        else:
            synchronise_batch_norms(child, device)
    return module


def _replacement(norm: nn.modules.batchnorm._BatchNorm) -> nn.Module:
    made = ProcessorSyncBatchNorm(
        norm.num_features,
        norm.eps,
        norm.momentum,
        norm.affine,
        norm.track_running_stats,
    )
    made.load_state_dict(norm.state_dict())
    act = getattr(norm, "act", None)
    if isinstance(act, nn.Module) and not isinstance(act, nn.Identity):
        made.register_forward_hook(_Activated(act))
    return made


class _Activated:
    """Applies the activation that timm's norms carry; a hook, so that the state dict keeps its names."""

    def __init__(self, act: nn.Module) -> None:
        self.act = act

    def __call__(self, _module: nn.Module, _inputs: object, out: Tensor) -> Tensor:
        activated: Tensor = self.act(out)
        return activated
