"""RoB: the settings of `lowzoo train rob` (arXiv 2301.09451)."""

from typing import Literal, Self

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from lowzoo.train.heads import HEADS
from lowzoo.train.recipes.base import Fraction, Positive, TaughtConfig

Loss = Literal["dino", "swav", "ibot", "msn", "kd"]


class RobConfig(TaughtConfig):
    """Every setting of `lowzoo train rob`.

    Args:
        loss: Member of the family; "kd" is the supervised distillation that the paper compares with.
        student_temperature: Temperature of the student's softmax.
        teacher_temperature: Temperature of the target's softmax; the loss's own if absent (dino, ibot 0.07, msn 0.025).
        teacher_views: Global views that the teacher sees, all of them if 0.
        swapped: Use the cross-view pairs of ordinary training instead (never so in the paper's configurations).
        alpha: Weight of the mean over pairs of two global views, as in SSLight; the mean over all pairs if absent.
        beta: Weight of the mean over pairs of a global and a local view; goes with `alpha`.
        epsilon: RoB-SwAV's target sharpness.
        sinkhorn_iterations: RoB-SwAV's; with 0 its target is a softmax at epsilon.
        target_queue: Past teacher scores that join RoB-SwAV's Sinkhorn, over all devices.
        student_scores: RoB-SwAV: "own" lets the student's head make its scores; "teacher" lets it end in the teacher's
            embedding space, where the teacher's prototypes score it.
        mask_ratio: RoB-iBOT: mean fraction of masked patches, one of them drawn for each view.
        mask_spread: RoB-iBOT: half width of the uniform draw around each mean fraction.
        patch_weight: RoB-iBOT: weight of the patch term beside the CLS term.
        kd_temperature: Supervised distillation: temperature T of both softmaxes.
        kd_weight: Supervised distillation: weight a of the teacher's term; 1 - a is the labels'.
    """

    recipe: Literal["rob"] = "rob"
    loss: Loss = "dino"
    batch_size: PositiveInt = 1024
    update: Literal["step", "epoch"] = "epoch"
    student_temperature: Positive = 0.1
    teacher_temperature: Positive | None = None
    teacher_views: NonNegativeInt = 0
    swapped: bool = False
    alpha: NonNegativeFloat | None = None
    beta: NonNegativeFloat | None = None
    epsilon: Positive = 0.03
    sinkhorn_iterations: NonNegativeInt = 3
    target_queue: NonNegativeInt = 0
    student_scores: Literal["own", "teacher"] = "own"
    mask_ratio: tuple[Fraction, ...] = (0.0, 0.3)
    mask_spread: tuple[Fraction, ...] = (0.0, 0.2)
    patch_weight: NonNegativeFloat = 1.0
    kd_temperature: Positive = 10.0
    kd_weight: Positive = 0.1

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        if self.teacher_views > self.global_views:
            raise ValueError(f"teacher_views must be at most the {self.global_views} global views")
        if len(self.mask_ratio) != len(self.mask_spread):
            raise ValueError("mask_ratio and mask_spread need the same length")
        if self.kd_weight > 1:
            raise ValueError("kd_weight must be at most 1")
        if (self.alpha is None) != (self.beta is None):
            raise ValueError("alpha and beta go together: set both or neither")
        if self.beta and not self.local_views:
            raise ValueError("beta weighs pairs with local views, and there are none: set beta = 0")
        if self.loss == "kd" and self.alpha is not None:
            raise ValueError("loss 'kd' has no pairs of views, so alpha and beta, which --views sets, must be absent")
        if self.teacher_prototypes and not HEADS[self.student_head.kind].takes_prototypes:
            raise ValueError(
                "teacher_prototypes needs a student_head.kind that can start at them, such as 'dino', and "
                f"{self.student_head.kind!r} cannot"
            )
        width = self.student_head.bottleneck
        if self.teacher_prototypes and self.teacher_head == "fitted" and width != self.fitted_bottleneck:
            raise ValueError(
                f"teacher_prototypes needs student_head.bottleneck = {width} to be fitted_bottleneck = "
                f"{self.fitted_bottleneck}"
            )
        if self.loss == "ibot" and self.swapped:
            raise ValueError("the patch term of loss 'ibot' pairs equal views, so swapped must be false")
        if self.loss == "ibot" and self.teacher_head == "fitted":
            raise ValueError("loss 'ibot' needs a teacher whose own head scores patches, not teacher_head 'fitted'")
        if self.loss == "ibot" and self.teacher_size:
            raise ValueError("loss 'ibot' pairs patches of the same views, so teacher_size must be 0")
        if self.loss == "ibot" and self.patch_drop:
            raise ValueError("loss 'ibot' masks patches, so patch_drop must be 0")
        return self

    @property
    def targets_views(self) -> int:
        """Global views that the teacher sees."""
        return self.teacher_views or self.global_views

    @property
    def pair_weights(self) -> tuple[float, float] | None:
        """`alpha` and `beta`, or None for the mean over all pairs."""
        return None if self.alpha is None or self.beta is None else (self.alpha, self.beta)

    @property
    def method_name(self) -> str:
        """The method for people."""
        names = {"dino": "DINO", "swav": "SwAV", "ibot": "iBOT", "msn": "MSN"}
        return f"RoB-{names[self.loss]}" if self.loss in names else "supervised distillation"
