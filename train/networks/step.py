"""The interface between a recipe's step and the loop."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.networks.encoder import Encoded, MultiViewEncoder


@dataclass(frozen=True)
class Views:
    """The finished views of one part of a batch, on the device.

    Args:
        groups: One tensor (count, B, 3, S, S) a group, normalised; the global one first.
        epoch: Epoch of these images.
        indices: (B,) of the images in their source, on the CPU.
        records: (B, G, 13) what the global views were made with, for a teacher cache.
        labels: (B,) classes, for supervised distillation.
        masks: (G, B, N) masked patches of the global views, for iBOT.
        bottleneck: (G, B, D') what a teacher cache holds of the global views, where it was read ahead.
    """

    groups: list[Tensor]
    epoch: int
    indices: Tensor
    records: Tensor = field(default_factory=lambda: torch.empty(0))
    labels: Tensor | None = None
    masks: Tensor | None = None
    bottleneck: Tensor | None = None

    def on_device(self) -> list[Tensor]:
        """All that lies on the device."""
        return [*self.groups, *(x for x in (self.labels, self.masks, self.bottleneck) if x is not None)]


@dataclass(frozen=True)
class StepContext:
    """Where the run stands.

    Args:
        step: From 0.
        progress: Fraction of the run that is done, in [0, 1).
        clock: Times the teacher's part.
        autocast: Makes the context in which networks compute.
    """

    step: int
    progress: float
    clock: StepClock
    autocast: Callable[[], Any] = field(repr=False)


class Method(nn.Module, ABC):
    """A recipe's step.

    What is a registered parameter or buffer here is part of the checkpoint; the frozen teacher is not.

    Args:
        student: Is trained, exported and evaluated.
    """

    #: Number of outputs K whose uniform guess, ln K nats, is where a collapsed run stays; 0 where there is none.
    outputs: int = 0
    #: Setting by which the targets are sharpened or softened; named where a run has collapsed.
    sharpness: str = ""

    def __init__(self, student: MultiViewEncoder) -> None:
        super().__init__()
        self.student = student
        # In a list, so that a wrapper around the student is not registered as a second module.
        self._forward: list[nn.Module] = []
        self._mapped: list[tuple[Tensor, Tensor]] = []

    @abstractmethod
    def loss(self, views: Views, now: StepContext) -> Tensor:
        """The loss of one part of a batch; scalar, nats, mean over this process's images."""

    def before_step(self, now: StepContext) -> None:
        """What happens before the forward pass of a step."""

    def after_backward(self, now: StepContext) -> None:
        """What happens to gradients, before they are clipped and applied."""

    def after_step(self, now: StepContext) -> None:
        """What happens once the optimiser has moved the student."""

    def encode(self, groups: list[Tensor], masks: Tensor | None, now: StepContext) -> Encoded:
        """The student's forward pass, in the run's precision, through the wrapper where there is one."""
        forward = self._forward[0] if self._forward else self.student
        with now.autocast():
            encoded: Encoded = forward(groups, masks) if masks is not None else forward(groups)
        if encoded.mapped is not None:
            self._mapped.append((groups[0], encoded.mapped))
        return encoded

    def take_mapped(self) -> list[tuple[Tensor, Tensor]]:
        """Views (G, B, 3, S, S) that were encoded since the last call, and what the student's map makes of them."""
        taken, self._mapped = self._mapped, []
        return taken

    def wrap(self, wrapper: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Send the student's forward passes through `wrapper(student)`; returns it."""
        self._forward = [wrapper(self._forward[0] if self._forward else self.student)]
        return self._forward[0]


def momentum_teacher(student: MultiViewEncoder) -> MultiViewEncoder:
    """A copy of a student that follows it: no gradient, no drop path, batch norms in train mode with own buffers."""
    twin = copy.deepcopy(student).requires_grad_(False)
    for module in twin.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0  # type: ignore[assignment]
        if hasattr(module, "active") and hasattr(module, "rate"):
            module.rate = 0.0  # type: ignore[assignment]
    return twin


@torch.no_grad()
def ema_update(twin: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move every parameter of `twin` towards the student's of its name: m * twin + (1 - m) * student."""
    theirs = dict(student.named_parameters())
    pairs = [(own, theirs[name]) for name, own in twin.named_parameters()]
    torch._foreach_lerp_([own for own, _ in pairs], [other for _, other in pairs], 1 - momentum)
