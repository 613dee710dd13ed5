"""From a configuration to the method that a run steps through; refuses what cannot work before anything is loaded."""

import torch
from torch import nn

from lowzoo.errors import LowzooError
from lowzoo.train.class_token import shorten_last_block
from lowzoo.train.encoder import MultiViewEncoder, feature_width
from lowzoo.train.frozen import FrozenTeacher
from lowzoo.train.heads import WeightNormLinear
from lowzoo.train.methods.base import Method
from lowzoo.train.methods.kd import KdMethod
from lowzoo.train.methods.rob import RobIbotMethod, RobMethod
from lowzoo.train.methods.seed import SeedMethod
from lowzoo.train.methods.sslight import DinoMethod, MocoMethod, SwavMethod
from lowzoo.train.recipes import RobConfig, SeedConfig, SslightConfig, TrainConfig
from lowzoo.train.sync_batch_norm import synchronise_batch_norms
from lowzoo.train.teachers import Teacher


def build_method(
    config: TrainConfig, backbone: nn.Module, teacher: FrozenTeacher | None, device: torch.device, *, processes: int = 1
) -> Method:
    """The method with a fresh head on the student, on its device.

    Args:
        config: Configuration of the run.
        backbone: The student's, see `create_student`.
        teacher: With its head; None for a recipe without one.
        device: Where it trains.
        processes: Processes of the run; batch norms are synchronised over them where the configuration says so.
    """
    torch.manual_seed(config.seed + 1)
    width = feature_width(backbone, config.global_size)
    head = config.student_head.build(width, _outputs(config, teacher))
    if teacher is not None and getattr(config, "teacher_prototypes", False):
        _start_from_prototypes(head, teacher.teacher)
    masked = isinstance(config, RobConfig) and config.loss == "ibot"
    if not masked:
        shorten_last_block(backbone)
    student = MultiViewEncoder(backbone, head, masked=masked).to(memory_format=torch.channels_last)
    if config.sync_bn and processes > 1:
        synchronise_batch_norms(student, device)
    return _method(config, student, teacher).to(device)


def _method(config: TrainConfig, student: MultiViewEncoder, teacher: FrozenTeacher | None) -> Method:
    if isinstance(config, SslightConfig):
        if config.method == "dino":
            return DinoMethod(student, config)
        width = config.student_head.bottleneck
        return SwavMethod(student, config, width) if config.method == "swav" else MocoMethod(student, config, width)
    if teacher is None:
        raise LowzooError(f"recipe {config.recipe} needs a teacher", "Name one with --teacher")
    if isinstance(config, SeedConfig):
        return SeedMethod(student, teacher, config)
    if not isinstance(config, RobConfig):
        raise LowzooError(f"recipe {config.recipe} is not known", "Choose rob, seed or sslight")
    if config.loss == "kd":
        return KdMethod(student, teacher, config)
    return RobIbotMethod(student, teacher, config) if config.loss == "ibot" else RobMethod(student, teacher, config)


def _outputs(config: TrainConfig, teacher: FrozenTeacher | None) -> int:
    """What the student's head ends in."""
    if isinstance(config, SslightConfig):
        return config.student_head.bottleneck if config.method == "moco" else config.prototypes
    if teacher is None:
        raise LowzooError(f"recipe {config.recipe} needs a teacher", "Name one with --teacher")
    if isinstance(config, SeedConfig) or getattr(config, "student_scores", "own") == "teacher":
        return teacher.width
    return teacher.facts.prototypes


def _start_from_prototypes(head: nn.Module, teacher: Teacher) -> None:
    """Start the student's last layer at the teacher's prototypes, which already span the target space."""
    prototypes = _prototypes(teacher.head)
    last = getattr(head, "last_layer", None)
    if not isinstance(last, WeightNormLinear) or prototypes is None or prototypes.shape != last.weight_v.shape:
        raise LowzooError(
            "teacher_prototypes needs a student head of kind dino with the teacher's bottleneck width",
            "Set student_head.bottleneck to it, or teacher_prototypes=false",
        )
    with torch.no_grad():
        last.weight_v.copy_(prototypes)


def _prototypes(head: nn.Module | None) -> torch.Tensor | None:
    """The prototypes (K, D') of a head that has some."""
    for name, part in (("prototypes", "weight"), ("last_layer", "weight_v")):
        layer = getattr(head, name, None)
        found = layer if isinstance(layer, torch.Tensor) else getattr(layer, part, None)
        if isinstance(found, torch.Tensor):
            return found
    return None
