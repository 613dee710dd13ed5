"""The frozen teacher of a run, completed with a fitted head where it has none of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.notes import say_once
from lowzoo.base.progress import progress_bar
from lowzoo.data.source import ImageSource
from lowzoo.features.batch_norms import fold_batch_norms
from lowzoo.io.files import write_text
from lowzoo.system.processes import Processes, joined
from lowzoo.train.heads import HeadSpec, WeightNormLinear
from lowzoo.train.heads.files import load_head, save_head
from lowzoo.train.monitoring.monitor import features_of, fixed_subset, images_at_once, read_squares
from lowzoo.train.networks.class_token import shorten_last_block
from lowzoo.train.recipes import RECIPES
from lowzoo.train.recipes.base import TaughtConfig, TrainConfig
from lowzoo.train.teachers import Teacher, brings_head, fit_teacher_head, load_teacher, with_fitted_head
from lowzoo.train.teachers.classifier import ClassifierHead
from lowzoo.train.teachers.resized import Resized

M = TypeVar("M", bound=nn.Module)

_HEAD, _FACTS = "teacher_head.safetensors", "teacher_head.json"


def create_teacher(config: TrainConfig, source: ImageSource) -> Teacher | None:
    """The teacher, its head still missing where it is to be fitted, or None for a recipe without one; writes nothing.

    Args:
        config: Configuration of the run.
        source: Training images; supervised distillation needs their classes to be the teacher's.

    Raises:
        LowzooError: Whatever is wrong with it.
    """
    taught, needs = config.taught, config.needs
    if taught is None:
        return None
    _check_head(taught)
    if source.streamed and taught.teacher_head == "fitted" and not needs.classes:
        raise LowzooError(
            f"prototypes are fitted to pictures from all of {source.name}, and from a stream none can be picked",
            "Name a teacher with a head of its own by --teacher (rob_vit_tiny is bundled, `lowzoo teachers` lists "
            "others), use `lowzoo train sslight`, or download the data",
        )
    head = "classifier" if needs.classes else taught.teacher_head
    size = taught.teacher_size or config.global_size
    teacher = load_teacher(taught.teacher, size=size, head=head, file=taught.teacher_file)
    if needs.patches and not hasattr(teacher.head, "patch_scores"):
        raise LowzooError(
            f"{config.method_name} needs a teacher whose head scores patches, and that of {taught.teacher} does not",
            "Choose an iBOT teacher of `lowzoo teachers`, or another loss",
        )
    if needs.classes:
        _number_classes(teacher, taught.teacher, source)
    if needs.local_targets:
        _check_sizes(teacher, taught)
    return teacher


@torch.no_grad()
def _check_sizes(teacher: Teacher, config: TaughtConfig) -> None:
    """Refuse a teacher that takes images of one size alone where it is to see local views of another."""
    for size in {group.size for group in config.views} - {config.global_size}:
        try:
            teacher.backbone(torch.zeros(1, 3, size, size))
        except Exception as error:  # whatever a network does with a size that is not its own
            raise LowzooError(
                f"teacher {config.teacher} was loaded for {config.global_size} px and takes no local views of {size} "
                f"px ({reason_of(error)})",
                f"Add --set view.local.size={config.global_size}, or choose a convolutional teacher",
            ) from error


def _number_classes(teacher: Teacher, teacher_spec: str, source: ImageSource) -> None:
    """Bring the source's class ids in line with the teacher's outputs, or refuse another number of classes."""
    ids = np.unique(source.require_labels())
    outputs = teacher.facts.prototypes
    # Ids that are the teacher's own numbers stay what they are; others are counted, in their order.
    plain = bool(source.class_names) or int(ids[-1]) + 1 == outputs
    classes = len(source.class_names or ()) or (outputs if plain else len(ids))
    if classes != outputs:
        raise LowzooError(
            f"teacher {teacher_spec} knows {outputs} classes, and {source.name} has {classes}",
            "Choose a teacher of the same classes, or a loss that needs no labels",
        )
    if not plain and isinstance(teacher.head, ClassifierHead):
        say_once(
            f"classes {ids[0]} to {ids[-1]} of {source.name} are taken for the teacher's 0 to {outputs - 1}, in order"
        )
        teacher.head.number_classes(torch.from_numpy(ids))


def _check_head(config: TaughtConfig) -> None:
    """Refuse a teacher whose head cannot make what the loss needs, before anything is fetched."""
    needs = config.needs
    if config.teacher_head == "fitted" or needs.classes:
        return
    entry = catalog.teachers().get(config.teacher)
    own = brings_head(config.teacher, prototypes=False)
    if needs.prototypes and own and not brings_head(config.teacher, prototypes=True):
        raise LowzooError(
            f"the head of teacher {config.teacher} ends in an embedding, and {RECIPES[config.recipe].label} needs "
            "prototypes",
            "Use --teacher-head fitted, another teacher, or `lowzoo train seed`",
        )
    scores_patches = catalog.TEACHER_FAMILIES[entry.family].patches if entry is not None else own
    if needs.patches and not scores_patches:
        which = f"is of family {entry.family}" if entry is not None else "has no head of its own"
        raise LowzooError(
            f"{config.method_name} needs a teacher whose head scores patches, and {config.teacher} {which}",
            "Choose an iBOT teacher of `lowzoo teachers`, or another loss",
        )
    width = config.student_head.bottleneck
    if entry is not None and config.teacher_prototypes and entry.bottleneck_dim and entry.bottleneck_dim != width:
        raise LowzooError(
            f"teacher_prototypes needs the student's head to be as wide as that of {config.teacher} before its "
            f"prototypes, and {width} is not {entry.bottleneck_dim}",
            f"Use --set student_head.bottleneck={entry.bottleneck_dim}, or --set teacher_prototypes=false",
        )


def complete_teacher(
    teacher: Teacher,
    config: TaughtConfig,
    source: ImageSource,
    folder: Path,
    device: torch.device,
    autocast: Callable[[], Any],
) -> Teacher:
    """The teacher on its device, prototypes normalised; a head to be fitted is read from the run folder, or kept there.

    Args:
        teacher: From `create_teacher`.
        config: Configuration of the run.
        source: The training images that prototypes are fitted to.
        folder: Run folder.
        device: Where the teacher will live.
        autocast: Makes the context in which its backbone computes.
    """
    fold_batch_norms(teacher.backbone)
    if not config.needs.patches:
        shorten_last_block(teacher.backbone)
    if config.teacher_size:
        teacher = Teacher(Resized(teacher.backbone, config.teacher_size), teacher.head, teacher.facts)
    if teacher.head is None:
        among = joined()
        if not among.of_main((folder / _HEAD).exists()):
            fitted = _fit(_to(teacher, device), config, source, folder, device, autocast, among)
            teacher = fitted if among.is_main else teacher
        among.wait()
        if teacher.head is None:
            head, _, _, _ = load_head(folder / _HEAD)
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            if facts["revision"] != teacher.facts.revision:
                say_once(
                    f"the prototypes of this run were fitted to {facts['revision']} of {facts['name']}, which is now "
                    f"{teacher.facts.revision}: the run does not go on to the same bits"
                )
            teacher = with_fitted_head(teacher, head, facts)
    teacher = _to(teacher, device, config.layout)
    teacher.layout = config.layout
    for module in teacher.modules():
        if isinstance(module, WeightNormLinear):
            module.freeze()
    return teacher


def announce_fit(teacher: Teacher, config: TaughtConfig, say: Callable[[str], None]) -> None:
    """Say that a head will be fitted, which takes a while and is not in the papers."""
    if teacher.head is None:
        say(f"Prototypes of {config.teacher}: {config.prototypes}, fitted to its embeddings (an extension)")


def _fit(
    teacher: Teacher,
    config: TaughtConfig,
    source: ImageSource,
    folder: Path,
    device: torch.device,
    autocast: Callable[[], Any],
    among: Processes,
) -> Teacher:
    """Fit a head, all processes together; the first one writes it down."""
    batch = images_at_once(config.teacher_size or config.global_size, device)

    chosen = fixed_subset(source, config.fitted_images, config.seed).tolist()
    # Whole batches, so that each holds the images that it would hold in one process.
    part = among.part(-(-len(chosen) // batch))
    mine = chosen[part.start * batch : part.stop * batch]

    errors: list[str] = []

    def embedded() -> Tensor:
        features = [torch.empty(0, 0)]
        with progress_bar("fitting prototypes", len(mine)) as advance:
            # A batch at a time, as all of them decoded may not fit into memory.
            for start in range(0, len(mine), batch):
                squares, kept, error = read_squares(source, mine[start : start + batch], config.global_size)
                errors.extend([error] if error else [])
                if len(kept):
                    features.append(features_of(teacher.backbone, squares, device, autocast, batch=batch))
                advance(min(batch, len(mine) - start))
        return torch.cat(features[1:] or features)

    features = among.gather_rows(among.attempt(embedded))
    if not len(features):
        first = f", the first: {errors[0]}" if errors else ""
        raise LowzooError(f"no image of {source.name} can be read to fit prototypes to{first}", "Replace them")
    teacher = fit_teacher_head(
        teacher,
        features,
        prototypes=config.prototypes,
        bottleneck=config.fitted_bottleneck,
        whitening=config.fitted_whitening,
        seed=config.seed,
        among=among,
    )
    if not among.is_main:
        return teacher
    head = teacher.fitted_head()
    spec = HeadSpec(kind="fitted", bottleneck=head.projection.shape[1])
    write_text(folder / _FACTS, json.dumps(teacher.facts.as_dict(), indent=2) + "\n")
    save_head(folder / _HEAD, head, spec, features.shape[1], config.prototypes)
    return teacher


def _to(module: M, device: torch.device, layout: torch.memory_format = torch.channels_last) -> M:
    """Move to the device; most convolutions are faster with the channels last."""
    return module.to(device=device).to(memory_format=layout)
