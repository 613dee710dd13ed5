"""Supervised distillation, what RoB's paper compares with: labels, and a supervised teacher's classes."""

import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.train.kernels.precision import full
from lowzoo.train.losses.kd import distillation_loss
from lowzoo.train.networks.encoder import MultiViewEncoder
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.recipes.rob.config import RobConfig
from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class KdMethod(Method):
    """(1 - a) CE(labels) + a T^2 KL(teacher || student), the mean over the views.

    Args:
        student: Encoder whose head is a classifier.
        teacher: Frozen, its head the classifier of the same classes.
        config: Configuration of the run.
    """

    sharpness = "kd_temperature"

    def __init__(self, student: MultiViewEncoder, teacher: FrozenTeacher, config: RobConfig) -> None:
        super().__init__(student)
        self.teacher = teacher
        self.config = config
        self.outputs = teacher.facts.prototypes

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """The weighted sum of both terms."""
        if views.labels is None:
            raise LowzooError("supervised distillation needs labels", "Name a source with class folders or labels")
        with now.clock.part("teacher"), torch.no_grad():
            classes = self.teacher.scores(views, now, views.groups[0].shape[0])
        logits = full(self.encode(views.groups[:1], None, now).scores)
        return distillation_loss(
            logits.flatten(0, 1),
            classes.flatten(0, 1),
            self.teacher.class_numbers(views.labels).repeat(len(logits)),
            temperature=self.config.kd_temperature,
            weight=self.config.kd_weight,
        )
