"""Losses at initialisation: a student that knows nothing spreads over all K outputs, so its loss is near ln K."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lowzoo.train.heads import DINOHead, IBOTHead, MLPHead, ProjectionHead, SwAVHead
from lowzoo.train.losses.dino import DinoObjective
from lowzoo.train.losses.ibot import IbotObjective
from lowzoo.train.losses.moco import MocoObjective
from lowzoo.train.losses.msn import msn_loss, msn_targets
from lowzoo.train.losses.rob import TEACHER_TEMPERATURE, RobObjective
from lowzoo.train.losses.rob_ibot import rob_ibot_loss
from lowzoo.train.losses.rob_swav import SinkhornTargets
from lowzoo.train.losses.seed import SeedObjective
from lowzoo.train.losses.swav import SwavObjective

WIDTH, VIEWS, BATCH = 48, 6, 16


def _scored(head: torch.nn.Module, views: int = VIEWS) -> Tensor:
    logits: Tensor = head(torch.randn(views * BATCH, WIDTH))
    return logits.detach().unflatten(0, (views, BATCH))


def _rob_dino() -> Tensor:
    objective = RobObjective(TEACHER_TEMPERATURE["dino"])
    return objective.loss(_scored(DINOHead(WIDTH, 65_536, hidden=64)), objective.targets(torch.randn(2, BATCH, 65_536)))


def _rob_msn() -> Tensor:
    objective = RobObjective(TEACHER_TEMPERATURE["msn"])
    cosines = torch.rand(2, BATCH, 1024) * 2 - 1
    return objective.loss(_scored(MLPHead(WIDTH, 1024, hidden=64)), objective.targets(cosines))


def _rob_swav() -> Tensor:
    codes = SinkhornTargets(3000).targets(torch.rand(1, BATCH, 3000) * 2 - 1)
    return RobObjective(1.0).loss(_scored(SwAVHead(WIDTH, 3000, hidden=64, bottleneck=128)), codes)


def _rob_ibot_part(**weights: float) -> Tensor:
    head, patches = IBOTHead(WIDTH, 8192, hidden=64), 9
    patch = head.patch_scores(torch.randn(2 * BATCH * patches, WIDTH)).unflatten(0, (2, BATCH, patches))
    teacher = torch.randn(2, BATCH, 1 + patches, 8192)
    mask = torch.rand(2, BATCH, patches).argsort(-1) < 4
    return rob_ibot_loss(_scored(head), patch, teacher[:, :, 0], teacher[:, :, 1:], mask, **weights)


def _sslight_dino() -> Tensor:
    objective = DinoObjective(4096)
    targets = objective.targets(torch.randn(2, BATCH, 4096), 0.04)
    return objective.loss(_scored(DINOHead(WIDTH, 4096, hidden=64, batch_norm=True)), targets, 0.4, 0.6)


def _sslight_swav() -> Tensor:
    logits = _scored(SwAVHead(WIDTH, 3000, hidden=64, bottleneck=128))
    return SwavObjective(128).loss(logits, prototypes_KD=torch.empty(0), use_queue=False, alpha=0.4, beta=0.6)


def _ibot() -> Tensor:
    objective = IbotObjective(8192, cls_weight=1.0, patch_weight=0.0)
    head, patch = IBOTHead(WIDTH, 8192, hidden=64), torch.zeros(2, BATCH, 1, 8192)
    teacher, mask = torch.randn(2, BATCH, 8192), torch.ones(2, BATCH, 1)
    return objective.loss(_scored(head), patch, teacher, patch, mask, temperature=0.04, patch_temperature=0.04)


def _msn() -> Tensor:
    prototypes = torch.randn(1024, 256)
    targets = msn_targets(torch.randn(BATCH, 256), prototypes)
    return msn_loss(torch.randn(VIEWS, BATCH, 256), targets, prototypes)[0]


def _seed() -> Tensor:
    student = _scored(ProjectionHead(WIDTH, 128), 1)[0]
    return SeedObjective().loss(student, torch.randn(BATCH, 128))


def _moco() -> Tensor:
    return MocoObjective().loss(_scored(ProjectionHead(WIDTH, 128)), torch.randn(BATCH, 128), 0.4, 0.6)


@pytest.mark.parametrize(
    ("loss", "outputs", "spread"),
    [
        pytest.param(_rob_dino, 65_536, 0.03, id="rob_dino"),
        pytest.param(_rob_msn, 1024, 0.03, id="rob_msn"),
        pytest.param(_rob_swav, 3000, 0.08, id="rob_swav"),
        pytest.param(lambda: _rob_ibot_part(patch_weight=0.0), 8192, 0.03, id="rob_ibot_cls"),
        pytest.param(lambda: _rob_ibot_part(cls_weight=0.0), 8192, 0.03, id="rob_ibot_patch"),
        pytest.param(_sslight_dino, 4096, 0.03, id="sslight_dino"),
        pytest.param(_sslight_swav, 3000, 0.08, id="sslight_swav"),
        pytest.param(_ibot, 8192, 0.03, id="ibot"),
        pytest.param(_msn, 1024, 0.05, id="msn"),
        pytest.param(_seed, 65_537, 0.05, id="seed"),
        pytest.param(_moco, 65_537, 0.05, id="moco"),
    ],
)
def test_loss_begins_near_ln_k(loss: Callable[[], Tensor], outputs: int, spread: float) -> None:
    """Cosines of a few dimensions (SwAV, SEED, MoCo, MSN) spread, which costs some percent."""
    assert loss().item() == pytest.approx(math.log(outputs), rel=spread)
