"""SSLight's objectives: DINO, SwAV and MoCo-v2 with weights for two kinds of pairs (arXiv 2210.02808).

The baseline and SSLight differ in the views and in the weights alpha and beta alone, so nothing here knows which of the
two runs.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.train.distributed.collectives import peers
from lowzoo.train.distributed.shuffle import shuffle_batch
from lowzoo.train.kernels.precision import full
from lowzoo.train.losses.dino import DinoObjective
from lowzoo.train.losses.moco import MocoObjective
from lowzoo.train.losses.swav import SwavObjective
from lowzoo.train.networks.encoder import MultiViewEncoder
from lowzoo.train.networks.step import Method, StepContext, Views, ema_update, momentum_teacher
from lowzoo.train.recipes.schedules import teacher_temperature
from lowzoo.train.recipes.sslight.config import SslightConfig

# Values that the teacher's temperature takes in a run whose length is not given by epochs.
_TEMPERATURES = 100


class _SslightMethod(Method):
    """What the three share: the configuration and the freezing of the head's last layer."""

    def __init__(self, student: MultiViewEncoder, config: SslightConfig) -> None:
        super().__init__(student)
        self.config = config

    def after_backward(self, now: StepContext) -> None:
        """Drop the gradient of the last layer while it is frozen."""
        if now.progress < self.config.freeze_last:
            for parameter in last_layer(self.student.head).parameters():
                parameter.grad = None

    def momentum(self, progress: float) -> float:
        """Momentum of the EMA branch: a cosine from `ema` to `ema_end`."""
        start, end = self.config.ema, self.config.ema_end
        return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


class DinoMethod(_SslightMethod):
    """DINO: the EMA of the student teaches it, centred and sharpened."""

    sharpness = "teacher_temperature"

    def __init__(self, student: MultiViewEncoder, config: SslightConfig) -> None:
        super().__init__(student, config)
        self.twin = momentum_teacher(student)
        self.outputs = config.prototypes
        self.objective = DinoObjective(
            config.prototypes,
            student_temperature=config.student_temperature,
            centre_momentum=config.centre_momentum,
            peers=peers(),
        )
        self._outputs: list[Tensor] = []

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """Cross-entropy over pairs of different views."""
        config = self.config
        with now.clock.part("teacher"), torch.no_grad(), now.autocast():
            teacher = full(self.twin(views.groups[:1]).scores)
        points = config.epochs or _TEMPERATURES
        temperature = teacher_temperature(
            int(now.progress * points + 1e-9),
            points,
            start=config.teacher_temperature_start,
            end=config.teacher_temperature,
            warmup=config.teacher_temperature_warmup,
        )
        targets = self.objective.targets(teacher, temperature)
        self._outputs.append(teacher)
        scores = full(self.encode(views.groups, None, now).scores)
        return self.objective.loss(scores, targets, config.alpha, config.beta)

    def after_step(self, now: StepContext) -> None:
        """Move the centre by the outputs of the whole step, then the teacher towards the student."""
        self.objective.update_centre(torch.cat(self._outputs, 1))
        self._outputs.clear()
        ema_update(self.twin, self.student, self.momentum(now.progress))


class SwavMethod(_SslightMethod):
    """SwAV: each global view's code is predicted from the other views; no second network."""

    sharpness = "epsilon"

    def __init__(self, student: MultiViewEncoder, config: SslightConfig, width: int) -> None:
        super().__init__(student, config)
        self.outputs = config.prototypes
        self.objective = SwavObjective(
            width,
            queue_length=config.queue - config.queue % config.batch_size,
            global_views=config.global_views,
            temperature=config.student_temperature,
            epsilon=config.epsilon,
            iterations=config.sinkhorn_iterations,
            peers=peers(),
        )
        self._embeddings: list[Tensor] = []

    def before_step(self, now: StepContext) -> None:
        """Put the prototypes back on the unit sphere."""
        self.student.head.normalise_prototypes()

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """Swapped prediction of codes."""
        encoded = self.encode(views.groups, None, now)
        embeddings = full(encoded.bottleneck[: self.config.global_views].detach())
        self._embeddings.append(embeddings)
        return self.objective.loss(
            full(encoded.scores),
            prototypes_KD=last_layer(self.student.head).weight.detach(),
            use_queue=now.progress >= self.config.queue_start,
            alpha=self.config.alpha,
            beta=self.config.beta,
        )

    def after_step(self, now: StepContext) -> None:
        """Enqueue the embeddings of the whole step once the queue has begun."""
        if now.progress >= self.config.queue_start:
            self.objective.enqueue(torch.cat(self._embeddings, 1))
        self._embeddings.clear()


class MocoMethod(_SslightMethod):
    """Multi-crop MoCo-v2: the key is the EMA branch on the first global view, every other view is a query."""

    sharpness = "student_temperature"

    def __init__(self, student: MultiViewEncoder, config: SslightConfig, width: int) -> None:
        super().__init__(student, config)
        self.twin = momentum_teacher(student)
        self.objective = MocoObjective(width, config.queue, temperature=config.student_temperature, peers=peers())
        self._keys: list[Tensor] = []
        self._moved = -1

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """InfoNCE of the second global view and of the local ones against the key."""
        first, *rest = views.groups
        with now.clock.part("teacher"), torch.no_grad():
            if self._moved != now.step:
                ema_update(self.twin, self.student, self.momentum(now.progress))
                self._moved = now.step
            shuffled, restore = shuffle_batch(first[0], now.step)
            with now.autocast():
                key = full(self.twin([shuffled[None]]).scores[0])
            key = restore(key)
        queries = full(self.encode([first[1:], *rest], None, now).scores)
        self._keys.append(key)
        return self.objective.loss(queries, key, self.config.alpha, self.config.beta)

    def after_step(self, now: StepContext) -> None:
        """Enqueue the keys of the whole step."""
        self.objective.enqueue(torch.cat(self._keys))
        self._keys.clear()


def last_layer(head: nn.Module) -> Any:
    """The linear layer whose rows are the prototypes.

    Raises:
        TypeError: The head has none.
    """
    for name in ("last_layer", "prototypes"):
        layer = getattr(head, name, None)
        if isinstance(layer, nn.Module):
            return layer
    raise TypeError(f"{type(head).__name__} has no prototype layer")
