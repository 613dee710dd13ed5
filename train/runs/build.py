"""From a configuration to the method that a run steps through; refuses what cannot work before anything is loaded."""

import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.train.distributed.sync_batch_norm import synchronise_batch_norms
from lowzoo.train.heads import WeightNormLinear
from lowzoo.train.networks.class_token import shorten_last_block
from lowzoo.train.networks.encoder import MultiViewEncoder, feature_width
from lowzoo.train.networks.step import Method
from lowzoo.train.recipes import RECIPES
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.teacher_cache.frozen import FrozenTeacher
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
    recipe, masked = RECIPES[config.recipe], config.needs.patches
    head = config.student_head.build(width, recipe.outputs(config, teacher))
    if teacher is not None and config.taught is not None and config.taught.teacher_prototypes:
        _start_from_prototypes(head, teacher.teacher)
    if not masked:
        shorten_last_block(backbone)
    layout = config.layout
    student = MultiViewEncoder(backbone, head, masked=masked, layout=layout).to(memory_format=layout)
    if config.sync_bn and processes > 1:
        synchronise_batch_norms(student, device)
    return recipe.method(config, student, teacher).to(device)


def _start_from_prototypes(head: nn.Module, teacher: Teacher) -> None:
    """Start the student's last layer at the teacher's prototypes, which already span the target space."""
    prototypes = _prototypes(teacher.head)
    last = getattr(head, "last_layer", None)
    if not isinstance(last, WeightNormLinear) or prototypes is None or prototypes.shape != last.weight_v.shape:
        raise LowzooError(
            "teacher_prototypes needs a student head that ends in prototypes as wide as the teacher's",
            "Set student_head.bottleneck to their width, or teacher_prototypes=false",
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
