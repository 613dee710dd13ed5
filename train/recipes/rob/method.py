"""RoB: the student fits the frozen teacher's prototype distribution (arXiv 2301.09451).

The teacher sees the first global views, the student all views; `lowzoo.train.losses` holds the losses.
"""

import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.train.distributed.collectives import peers
from lowzoo.train.kernels.precision import full
from lowzoo.train.losses.rob import TEACHER_TEMPERATURE, RobObjective
from lowzoo.train.losses.rob_ibot import rob_ibot_loss
from lowzoo.train.losses.rob_swav import SinkhornTargets
from lowzoo.train.networks.encoder import Encoded, MultiViewEncoder
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.recipes.rob.config import RobConfig
from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class RobMethod(Method):
    """RoB with the targets of DINO, MSN or SwAV.

    Args:
        student: Encoder with a head of K scores, or one that ends in the teacher's bottleneck.
        teacher: Frozen.
        config: Configuration of the run.
    """

    def __init__(self, student: MultiViewEncoder, teacher: FrozenTeacher, config: RobConfig) -> None:
        super().__init__(student)
        self.teacher = teacher
        self.config = config
        self.outputs = teacher.facts.prototypes
        self.sharpness = "epsilon" if config.loss == "swav" else "teacher_temperature"
        family = "dino" if config.loss == "swav" else config.loss
        self.objective = RobObjective(
            config.teacher_temperature or TEACHER_TEMPERATURE[family],  # type: ignore[index]
            config.student_temperature,
            config.swapped,
            config.pair_weights,
        )
        self.sinkhorn = None
        if config.loss == "swav":
            self.sinkhorn = SinkhornTargets(
                epsilon=config.epsilon,
                iterations=config.sinkhorn_iterations,
                queue_length=config.target_queue,
                prototypes=self.outputs,
                peers=peers(),
            )

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """Mean cross-entropy over the allowed pairs of teacher and student views."""
        with now.clock.part("teacher"), torch.no_grad():
            scores = self.teacher.scores(views, now, self.config.targets_views)
            make = self.sinkhorn or self.objective
            targets = make.targets(scores)
        encoded = self.encode(views.groups, None, now)
        return self.objective.loss(full(self._student_scores(encoded)), targets)

    def _student_scores(self, encoded: Encoded) -> Tensor:
        if self.config.student_scores == "own":
            return encoded.scores
        return self.teacher.score(encoded.scores)


class RobIbotMethod(Method):
    """RoB-iBOT: class tokens over all views, and masked patches of the global ones."""

    sharpness = "teacher_temperature"

    def __init__(self, student: MultiViewEncoder, teacher: FrozenTeacher, config: RobConfig) -> None:
        super().__init__(student)
        self.teacher = teacher
        self.config = config
        self.outputs = teacher.facts.prototypes

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """CLS term plus weighted patch term."""
        config = self.config
        if views.masks is None:
            raise LowzooError("loss ibot got no masks", "Report this as a bug of lowzoo")
        with now.clock.part("teacher"), torch.no_grad():
            teacher_cls, teacher_patches = self.teacher.patch_scores(views, now)
        encoded = self.encode(views.groups, views.masks, now)
        assert encoded.patches is not None
        temperature = config.teacher_temperature or 0.07
        return rob_ibot_loss(
            full(encoded.scores),
            full(encoded.patches),
            teacher_cls,
            teacher_patches,
            views.masks,
            student_temperature=config.student_temperature,
            teacher_temperature=temperature,
            teacher_patch_temperature=temperature,
            patch_weight=config.patch_weight,
            weights=config.pair_weights,
        )
