"""SEED: the settings of `lowzoo train seed` (arXiv 2101.04731)."""

from typing import Literal, Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from lowzoo.train.heads import HeadSpec
from lowzoo.train.recipes.base import Optimizer, Positive, TaughtConfig


class SeedConfig(TaughtConfig):
    """Every setting of `lowzoo train seed`.

    With a group of local views this is the small-patch extension: both networks see the local views, which are compared
    with a second queue of local keys.

    Args:
        queue: Past teacher embeddings K that an image is compared with; a multiple of the batch.
        student_temperature: Temperature of the student's softmax.
        teacher_temperature: Temperature of the target's softmax: 0.01, or 1e-4 as released, where the target is
            almost one-hot (preset `seed_released`).
    """

    recipe: Literal["seed"] = "seed"
    student: str = "resnet18"
    teacher: str = "moco_v2_r50_200"
    student_head: HeadSpec = HeadSpec(kind="moco", hidden=0, bottleneck=128)
    optimizer: Optimizer = "sgd"
    decay_rule: Literal["names", "one_d", "depthwise", "all"] = "all"
    batch_size: PositiveInt = 256
    lr_batch: NonNegativeInt = 256
    queue: PositiveInt = 65_536
    student_temperature: Positive = 0.2
    teacher_temperature: Positive = 0.01

    @model_validator(mode="after")
    def _seed_fits(self) -> Self:
        if self.global_views != 1:
            raise ValueError(f"SEED compares one global view of an image, and views have {self.global_views}")
        if self.teacher_prototypes:
            raise ValueError("SEED's student ends in an embedding, so teacher_prototypes must be false")
        self._check_queue(self.queue)
        return self

    @property
    def method_name(self) -> str:
        """The method for people."""
        return "SEED with small patches" if self.local_views else "SEED"
