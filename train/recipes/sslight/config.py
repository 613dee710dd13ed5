"""SSLight: the settings of `lowzoo train sslight` (arXiv 2210.02808)."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from lowzoo.train.recipes.base import Fraction, Outputs, Positive, TrainConfig

Method = Literal["dino", "swav", "moco"]


class SslightConfig(TrainConfig):
    """Every setting of `lowzoo train sslight`: training without a teacher, with softer views.

    Args:
        method: The objective that the views soften.
        alpha: Weight of the mean over pairs of two global views.
        beta: Weight of the mean over pairs of a global and a local view.
        prototypes: Outputs of the head: K of DINO and SwAV; of no use to MoCo.
        student_temperature: Temperature of the student's softmax; MoCo's temperature.
        teacher_temperature_start: DINO: of the teacher's softmax at the start.
        teacher_temperature: DINO: of the teacher's softmax after the warm-up.
        teacher_temperature_warmup: DINO: fraction of the run in which it rises.
        centre_momentum: DINO: of the running mean of the teacher's outputs.
        freeze_last: Fraction of the run in which the head's last layer stands still.
        ema: Momentum of the EMA branch at the start.
        ema_end: Momentum of the EMA branch at the end, on a cosine.
        epsilon: SwAV: sharpness of the codes.
        sinkhorn_iterations: SwAV.
        queue: SwAV: past embeddings for each assigned view, over all devices, rounded down to whole batches; MoCo: past
            keys, a multiple of the batch.
        queue_start: SwAV: fraction of the run before the queue is used.
    """

    recipe: Literal["sslight"] = "sslight"
    method: Method = "dino"
    student: str = "mobilenetv2"
    batch_size: PositiveInt = 1024
    alpha: NonNegativeFloat
    beta: NonNegativeFloat
    prototypes: Outputs = 4096
    student_temperature: Positive = 0.1
    teacher_temperature_start: Positive = 0.04
    teacher_temperature: Positive = 0.07
    teacher_temperature_warmup: Fraction = 0.25
    centre_momentum: Fraction = 0.9
    freeze_last: Fraction = 0.0
    ema: Annotated[float, Field(ge=0, le=1)] = 0.996
    ema_end: Annotated[float, Field(ge=0, le=1)] = 1.0
    epsilon: Positive = 0.05
    sinkhorn_iterations: PositiveInt = 3
    queue: PositiveInt = 3840
    queue_start: Fraction = 0.075

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if self.global_views != 2:
            raise ValueError("sslight needs exactly 2 global views")
        if not self.local_views and self.beta:
            raise ValueError("beta weighs pairs with local views, and there are none: set beta = 0")
        if self.method == "moco":
            self._check_queue(self.queue)
        return self

    @property
    def method_name(self) -> str:
        """The method for people."""
        return {"dino": "DINO", "swav": "SwAV", "moco": "MoCo-v2"}[self.method] + " (SSLight's trainer)"
