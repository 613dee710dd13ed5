"""SEED: the student reproduces the teacher's similarities to a queue of past images (arXiv 2101.04731)."""

import torch
from torch import Tensor

from lowzoo.train.distributed.collectives import peers
from lowzoo.train.kernels.precision import full
from lowzoo.train.losses.seed import SeedObjective, SmallPatchObjective
from lowzoo.train.networks.encoder import MultiViewEncoder
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.recipes.seed.config import SeedConfig
from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class SeedMethod(Method):
    """SEED on one global view; with local views its small-patch extension.

    Args:
        student: Encoder whose head ends as wide as the teacher's embedding.
        teacher: Frozen, with its own projection head.
        config: Configuration of the run.
    """

    sharpness = "teacher_temperature"

    def __init__(self, student: MultiViewEncoder, teacher: FrozenTeacher, config: SeedConfig) -> None:
        super().__init__(student)
        self.teacher = teacher
        self.outputs = config.queue + 1
        self._small_patches = config.local_views > 0
        kind = SmallPatchObjective if self._small_patches else SeedObjective
        self.objective: SeedObjective | SmallPatchObjective = kind(
            dim=teacher.width,
            queue_length=config.queue,
            student_temperature=config.student_temperature,
            teacher_temperature=config.teacher_temperature,
            peers=peers(),
        )
        self._keys: list[tuple[Tensor, ...]] = []

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """Cross-entropy with the teacher's distribution over its own key and the queue."""
        with now.clock.part("teacher"), torch.no_grad():
            key = self.teacher.embed(views, now)[0]
            local_keys = self.teacher.embed_locals(views, now) if self._small_patches else key[:0]
        encoded = full(self.encode(views.groups, None, now).scores)
        self._keys.append((key, local_keys) if self._small_patches else (key,))
        if isinstance(self.objective, SmallPatchObjective):
            return self.objective.loss(encoded[0], key, encoded[1:], local_keys)
        return self.objective.loss(encoded[0], key)

    def after_step(self, now: StepContext) -> None:
        """Enqueue the keys of the whole step."""
        self.objective.enqueue(*(torch.cat(part, -2) for part in zip(*self._keys, strict=True)))
        self._keys.clear()
