"""What every recipe has in common: student, views, optimisation, machine, monitor."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from lowzoo.base.registry import known_name
from lowzoo.train.heads import HeadSpec
from lowzoo.train.monitoring.trackers import TRACKERS
from lowzoo.train.optim.optimizers import OPTIMIZERS
from lowzoo.train.recipes import RECIPES, Needs
from lowzoo.train.recipes.schedules import Form, Update
from lowzoo.train.views import ViewGroup

Fraction = Annotated[float, Field(ge=0, lt=1)]
Tracker = Annotated[str, AfterValidator(partial(known_name, TRACKERS))]
Optimizer = Annotated[str, AfterValidator(partial(known_name, OPTIMIZERS))]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# A softmax over one output is always 1, and teaches nothing.
Outputs = Annotated[int, Field(ge=2)]
# The length of a run is given by one of these.
LENGTHS = ("epochs", "steps", "minutes")
_YEAR = 60 * 24 * 366


class TrainConfig(BaseModel):
    """The settings that all recipes share.

    Units: fractions are of the run, temperatures divide logits, sizes are pixels. With `lr_batch` = 256 the rate `lr`
    is per 256 images and is scaled by the batch; with 0 it is the rate itself. `lr_start` and `lr_end` are never
    scaled.

    Args:
        student: Short name (`vit_tiny`) or timm architecture.
        init: MODEL whose weights the student starts from; random if empty.
        zero_init_residual: Begin the residual branches of a student with random weights at zero.
        drop_path: Stochastic depth rate of a ViT.
        patch_drop: Fraction of the patch tokens dropped from global views in training, ViT only.
        patch_drop_per: One choice of tokens an image, or one for the whole forward pass as MSN does it.
        positions: How a ViT resamples its position embeddings for views of another size; official teachers have their
            own rules, and students trained beside them keep theirs.
        views: Groups of views, the global one first.
        student_head: The student's projection head.
        compatible_with: MODEL or teacher in whose embedding space the student's features are mapped, by a map that is
            trained along; none if empty.
        compatible_weight: Weight of the cosine distance to that model's embedding, beside the recipe's own loss.
        compatible_map: The map: "linear", or "mlp" with one hidden layer.
        compatible_size: Side in pixels at which that model sees the views; 0 for its own, or for that of the run's
            teacher where it is the same.
        optimizer: adamw, sgd, larc (SGD with VISSL's LARC), lars (SSLight's), or one that another package declares.
        decay_rule: Which parameters decay: "names" (all but biases and names with "norm"), "one_d" (all but 1-D
            tensors), "depthwise" (neither 1-D tensors nor depthwise kernels, which LARS still scales), or "all".
        epochs: Length of the run: passes over the data; 0 where `steps` or `minutes` give it.
        steps: Length of the run in steps.
        minutes: Length of the run by the clock, all of the command included: as many steps as fit.
        batch_size: Images in a step, over all devices and accumulated parts.
        accumulate: Parts in which a device goes through its share of the batch.
        update: Whether rate and decay change every step or every epoch; in a run whose length is not given by epochs
            they change every step.
        precision: Precision of the networks; losses and heads of teachers always compute in fp32. auto is bf16 on a GPU
            and fp32 elsewhere.
        onednn: On a CPU, fp32 matmuls by oneDNN instead of MKL: twice the speed on AMD's with AVX-512.
            A ViT's attention then keeps its weights for the backward pass, which takes memory.
        compile: Compile the student: true, or a mode of torch.compile that replays CUDA graphs, which no batch in
            parts can do. The modes have not run on a GPU yet.
        ahead: On a GPU, finish views and read a teacher cache a step ahead, on a stream of their own. Proven on a
            traced device; it has not run on a GPU yet.
        decode: Who decodes photographs: the workers (cpu), or on a GPU nvJPEG (device), which is for large ones.
            Other formats stay with the workers and are counted. Colours differ a little along their edges, and
            photographs of one colour are not looked for. Proven on a traced device; it has not run on a GPU yet.
        fused: AdamW by one kernel for many parameters.
        channels_last: Images and convolutions with the channels last.
        sync_bn: Batch statistics over all devices.
        keep_checkpoints: Checkpoints that stay for `--from`, beside the two newest; one an epoch until there are more,
            then those that lie most evenly over the run.
        monitor_epochs: The monitor measures after every so many epochs; never if 0.
        monitor_times: How often it measures in a run whose length is not given by epochs.
        guard: Stop a run that has collapsed or diverged.
        log: Trackers that get the numbers of metrics.jsonl, too.
        chosen: Why settings are what they are, where the user named no preset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    student: str = "vit_tiny"
    init: str = ""
    zero_init_residual: bool = False
    drop_path: Fraction = 0.0
    patch_drop: Fraction = 0.0
    patch_drop_per: Literal["batch", "image"] = "batch"
    positions: Literal["timm", "dino", "msn"] = "timm"
    views: tuple[ViewGroup, ...]
    student_head: HeadSpec = HeadSpec()
    compatible_with: str = ""
    compatible_weight: Positive = 1.0
    compatible_map: Literal["linear", "mlp"] = "linear"
    compatible_size: Annotated[int, Field(ge=0, le=1024)] = 0

    epochs: NonNegativeInt = 0
    steps: NonNegativeInt = 0
    minutes: Annotated[float, Field(ge=0, le=_YEAR)] = 0.0
    batch_size: PositiveInt
    accumulate: PositiveInt = 1
    optimizer: Optimizer = "adamw"
    lr: Positive
    lr_batch: NonNegativeInt = 0
    lr_start: NonNegativeFloat = 0.0
    lr_end: NonNegativeFloat = 0.0
    warmup: Fraction = 0.0
    schedule: Form = "cosine"
    update: Update = "step"
    decay_rule: Literal["names", "one_d", "depthwise", "all"] = "names"
    weight_decay: NonNegativeFloat
    weight_decay_end: NonNegativeFloat
    momentum: Fraction = 0.9
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    clip_grad: NonNegativeFloat = 0.0

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: str = "auto"
    compile: bool | Literal["reduce-overhead", "max-autotune"] = False
    ahead: bool = False
    decode: Literal["cpu", "device"] = "cpu"
    fused: bool = True
    channels_last: bool = True
    onednn: bool = False
    sync_bn: bool = False
    workers: NonNegativeInt | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    max_bad_share: Fraction = 0.01
    checkpoint_steps: NonNegativeInt = 500
    keep_checkpoints: NonNegativeInt = 4
    monitor_epochs: NonNegativeInt = 1
    monitor_times: PositiveInt = 8
    monitor_bank: PositiveInt = 10_000
    monitor_queries: PositiveInt = 2_000
    guard: bool = True
    log: tuple[Tracker, ...] = ("tensorboard",)
    chosen: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _older_words(cls, fields: Any) -> Any:
        """Read a single name of `log`, and `tensorboard`, the switch from before there were several trackers."""
        if not isinstance(fields, Mapping):
            return fields
        fields = dict(fields)
        if isinstance(fields.get("log"), str):
            fields["log"] = [fields["log"]]
        names = list(fields.get("log", ()))
        if "none" in names and len(names) > 1:
            raise ValueError("log: none goes alone")
        if names == ["none"]:
            fields["log"] = []
        if isinstance(fields.get("tensorboard"), bool):
            wanted = ["tensorboard"] if fields.pop("tensorboard") else []
            fields["log"] = [*wanted, *(name for name in fields.get("log", ()) if name != "tensorboard")]
        return fields

    @model_validator(mode="after")
    def _views_fit(self) -> Self:
        given = [name for name in LENGTHS if getattr(self, name)]
        if len(given) != 1:
            word = " and ".join(given) if given else "nothing"
            raise ValueError(f"the length of a run is given by one of {', '.join(LENGTHS)}, and here by {word}")
        names = [group.name for group in self.views]
        if not names or names[0] != "global" or names.count("global") != 1:
            raise ValueError("views need exactly one group named 'global', and it stands first")
        if not self.fused and self.optimizer != "adamw":
            raise ValueError(f"fused = false is for adamw, and the optimiser is {self.optimizer}")
        if self.accumulate > 1 and isinstance(self.compile, str):
            raise ValueError(f"compile = {self.compile!r} replays CUDA graphs, which no batch in parts can do")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size must be a multiple of accumulate = {self.accumulate}")
        return self

    def _check_queue(self, queue: int) -> None:
        """Refuse a queue that batches would leave half replaced."""
        if queue % self.batch_size:
            near = max(1, queue // self.batch_size) * self.batch_size
            raise ValueError(
                f"queue = {queue} must be a multiple of batch_size = {self.batch_size}, for example {near}"
            )

    @property
    def global_size(self) -> int:
        """Side of the global views in pixels; also the size of evaluation."""
        return self.views[0].size

    @property
    def global_views(self) -> int:
        """Number of global views G."""
        return self.views[0].count

    @property
    def local_views(self) -> int:
        """Number of local views."""
        return sum(group.count for group in self.views[1:])

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up."""
        return self.lr * self.batch_size / self.lr_batch if self.lr_batch else self.lr

    @property
    def layout(self) -> torch.memory_format:
        """How images and convolutions lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def method_name(self) -> str:
        """The method for people, e.g. "RoB-DINO"."""
        return RECIPES[self.recipe].label

    @property
    def needs(self) -> Needs:
        """What a run with this configuration needs, as its recipe declares it."""
        return RECIPES[self.recipe].needs_of(self)

    @property
    def taught(self) -> "TaughtConfig | None":
        """The configuration itself where it has a frozen teacher, else None."""
        return None


class TeacherSettings(BaseModel):
    """The settings of a frozen teacher; a part of the configuration of recipes that have one.

    Args:
        teacher: A name of the teacher catalog, a run folder, or any MODEL word.
        teacher_size: Side in pixels that views are resized to for the teacher; 0 leaves them as they are.
        teacher_head: "own" demands the teacher's own head; "fitted" fits prototypes to its embeddings instead, which is
            an extension of the papers.
        teacher_file: The checkpoint, for a catalog teacher that is not found by itself.
        prototypes: Number of fitted prototypes K.
        fitted_bottleneck: Principal axes kept before the fitted prototypes.
        fitted_whitening: 0 keeps the spread of each axis, 1 removes it.
        fitted_images: Training images that prototypes are fitted to.
        teacher_prototypes: Start the student's last layer at the teacher's prototypes.
        view_epochs: Global views repeat after so many epochs, 0 for never; bounds the size of a teacher cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str = "dino_vits16"
    teacher_size: Annotated[int, Field(ge=0, le=1024)] = 0
    teacher_head: Literal["own", "fitted"] = "own"
    teacher_file: str = ""
    prototypes: Outputs = 1024
    fitted_bottleneck: PositiveInt = 256
    fitted_whitening: Annotated[float, Field(ge=0, le=1)] = 0.5
    fitted_images: PositiveInt = 20_000
    teacher_prototypes: bool = False
    view_epochs: NonNegativeInt = 0


class TaughtConfig(TrainConfig, TeacherSettings):
    """The settings that all recipes with a frozen teacher share."""

    @property
    def taught(self) -> "TaughtConfig":
        """The configuration itself."""
        return self
