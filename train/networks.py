"""The two networks of a run: the frozen teacher with its head, and the fresh student with its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.files import write_text
from lowzoo.train.config import RobConfig
from lowzoo.train.encoder import MultiViewEncoder, create_student, feature_width, use_plain_attention
from lowzoo.train.fold import fold_batch_norms
from lowzoo.train.head_files import load_head, save_head
from lowzoo.train.heads import DINOHead, HeadSpec
from lowzoo.train.monitor import features_of, load_squares
from lowzoo.train.teachers import Teacher, fit_teacher_head, load_teacher, with_fitted_head

M = TypeVar("M", bound=nn.Module)

_HEAD, _FACTS = "teacher_head.safetensors", "teacher_head.json"


def create_backbones(config: RobConfig) -> tuple[Teacher, nn.Module]:
    """The teacher, its head still missing where it is to be fitted, and the student's backbone; writes nothing.

    Raises:
        LowzooError: Whatever is wrong with either of them.
    """
    torch.manual_seed(config.seed)
    student = create_student(
        config.student,
        size=config.global_size,
        sizes=len({group.size for group in config.views}),
        drop_path=config.drop_path,
        patch_drop=config.patch_drop,
    )
    teacher = load_teacher(config.teacher, size=config.global_size, head=config.teacher_head, file=config.teacher_file)
    return teacher, student


def complete_teacher(
    teacher: Teacher, config: RobConfig, source: ImageSource, folder: Path, device: torch.device, *, bf16: bool
) -> Teacher:
    """The teacher on its device; a head that has to be fitted is read from the run folder, or fitted and kept there.

    Args:
        teacher: From `create_backbones`.
        config: Of the run.
        source: The training images that prototypes are fitted to.
        folder: Run folder.
        device: Where the teacher will live.
        bf16: Whether its backbone computes in bf16.
    """
    fold_batch_norms(teacher.backbone)
    if teacher.head is None:
        if (folder / _HEAD).exists():
            head, _, _, _ = load_head(folder / _HEAD)
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            teacher = with_fitted_head(teacher, head, facts)
        else:
            teacher = _fit(_to(teacher, device), config, source, folder, device, bf16)
    return _to(teacher, device)


def complete_student(
    backbone: nn.Module, config: RobConfig, teacher: Teacher, device: torch.device
) -> MultiViewEncoder:
    """The student with a fresh head as wide as the teacher's output, on its device."""
    if device.type == "cpu":
        use_plain_attention(backbone)
    torch.manual_seed(config.seed + 1)
    head = config.student_head.build(feature_width(backbone, config.global_size), teacher.facts.prototypes)
    if config.teacher_prototypes:
        _start_from_prototypes(head, teacher)
    return _to(MultiViewEncoder(backbone, head), device)


def announce_fit(teacher: Teacher, config: RobConfig, say: Callable[[str], None]) -> None:
    """Say that a head will be fitted, which takes a while and is not in the paper."""
    if teacher.head is None:
        say(f"Prototypes of {config.teacher}: {config.prototypes}, fitted to its embeddings (an extension of RoB)")


def _fit(
    teacher: Teacher, config: RobConfig, source: ImageSource, folder: Path, device: torch.device, bf16: bool
) -> Teacher:
    squares, _ = load_squares(source, config.fitted_images, config.global_size, config.seed, title="fitting prototypes")
    features = features_of(teacher.backbone, squares, device, bf16=bf16)
    teacher = fit_teacher_head(
        teacher,
        features,
        prototypes=config.prototypes,
        bottleneck=config.fitted_bottleneck,
        whitening=config.fitted_whitening,
        seed=config.seed,
    )
    head = teacher.fitted_head()
    spec = HeadSpec(kind="fitted", bottleneck=head.projection.shape[1])
    write_text(folder / _FACTS, json.dumps(teacher.facts.as_dict(), indent=2) + "\n")
    save_head(folder / _HEAD, head, spec, features.shape[1], config.prototypes)
    return teacher


def _start_from_prototypes(head: nn.Module, teacher: Teacher) -> None:
    """Start the student's last layer at the teacher's prototypes, which already span the target space."""
    prototypes = getattr(teacher.head, "prototypes", None)
    if prototypes is None and isinstance(teacher.head, DINOHead):
        prototypes = teacher.head.last_layer.weight_v
    if not isinstance(head, DINOHead) or prototypes is None or prototypes.shape != head.last_layer.weight_v.shape:
        raise LowzooError(
            "teacher_prototypes needs a student head of kind dino with the teacher's bottleneck width",
            "Set student_head.bottleneck to it, or teacher_prototypes=false",
        )
    with torch.no_grad():
        head.last_layer.weight_v.copy_(prototypes)


def _to(module: M, device: torch.device) -> M:
    """Move to the device; convolutions are faster with the channels last."""
    return module.to(device=device).to(memory_format=torch.channels_last)
