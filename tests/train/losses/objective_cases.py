"""Every objective as a small job that one process or several can do, for `test_train_objectives_processes.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.train.distributed.collectives import peers, rank, world_size
from lowzoo.train.losses.dino import DinoObjective
from lowzoo.train.losses.ibot import IbotObjective
from lowzoo.train.losses.kd import distillation_loss
from lowzoo.train.losses.moco import MocoObjective
from lowzoo.train.losses.msn import msn_loss, msn_targets
from lowzoo.train.losses.rob import RobObjective
from lowzoo.train.losses.rob_ibot import rob_ibot_loss
from lowzoo.train.losses.rob_swav import SinkhornTargets
from lowzoo.train.losses.seed import SeedObjective, SmallPatchObjective
from lowzoo.train.losses.swav import SwavObjective

BATCH, WIDTH, STEPS = 8, 12, 3
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A loss on inputs, what follows it, and what keeps its state."""

    loss: Callable[[Inputs], Tensor]
    state: nn.Module
    after: Callable[[Inputs], None] = lambda inputs: None


def _rob(scores: str = "dino") -> Case:
    objective = RobObjective(0.07 if scores == "dino" else 0.025)
    return Case(lambda x: objective.loss(x["student"], objective.targets(x["teacher"])), nn.Module())


def _rob_swav() -> Case:
    # Two steps fill the queue, and its length is no multiple of what a step brings.
    targets = SinkhornTargets(WIDTH, epsilon=0.3, queue_length=20, peers=peers()).double()
    return Case(lambda x: RobObjective(1.0).loss(x["student"], targets.targets(x["teacher"])), targets)


def _rob_ibot() -> Case:
    def loss(x: Inputs) -> Tensor:
        return rob_ibot_loss(x["student"], x["student_patch"], x["teacher"], x["teacher_patch"], x["mask"] > 0)

    return Case(loss, nn.Module())


def _seed() -> Case:
    objective = SeedObjective(WIDTH, 16, peers=peers()).double()
    return Case(
        lambda x: objective.loss(x["student"][0], x["teacher"][0]),
        objective,
        lambda x: objective.enqueue(x["teacher"][0]),
    )


def _small_patches() -> Case:
    objective = SmallPatchObjective(WIDTH, 16, peers=peers()).double()
    return Case(
        lambda x: objective.loss(x["student"][0], x["teacher"][0], x["student"][1:3], x["teacher"]),
        objective,
        lambda x: objective.enqueue(x["teacher"][0], x["teacher"]),
    )


def _dino() -> Case:
    objective = DinoObjective(WIDTH, peers=peers()).double()
    return Case(
        lambda x: objective.loss(x["student"], objective.targets(x["teacher"], 0.04), 0.4, 0.6),
        objective,
        lambda x: objective.update_centre(x["teacher"]),
    )


def _ibot() -> Case:
    objective = IbotObjective(WIDTH, peers=peers()).double()

    def loss(x: Inputs) -> Tensor:
        inputs = x["student"], x["student_patch"], x["teacher"], x["teacher_patch"], x["mask"] > 0
        return objective.loss(*inputs, temperature=0.04, patch_temperature=0.05)

    return Case(loss, objective, lambda x: objective.update_centres(x["teacher"], x["teacher_patch"]))


def _swav() -> Case:
    objective = SwavObjective(WIDTH, queue_length=16, epsilon=0.3, peers=peers()).double()

    def loss(x: Inputs) -> Tensor:
        logits = normalize(x["student"], dim=-1) @ x["prototypes"].T
        return objective.loss(logits, prototypes_KD=x["prototypes"], use_queue=True, alpha=0.4, beta=0.6)

    return Case(loss, objective, lambda x: objective.enqueue(normalize(x["student"][:2].detach(), dim=-1)))


def _moco() -> Case:
    objective = MocoObjective(WIDTH, 16, peers=peers()).double()
    return Case(
        lambda x: objective.loss(x["student"][1:], x["teacher"][0], 0.4, 0.6),
        objective,
        lambda x: objective.enqueue(x["teacher"][0]),
    )


def _msn() -> Case:
    def loss(x: Inputs) -> Tensor:
        targets = msn_targets(x["teacher"][0], x["prototypes"], iterations=3, peers=peers())
        cross, me_max = msn_loss(x["student"], targets, x["prototypes"], peers=peers())
        return cross + me_max

    return Case(loss, nn.Module())


def _kd() -> Case:
    def loss(x: Inputs) -> Tensor:
        return distillation_loss(x["student"][0], x["teacher"][0], x["teacher"][1].argmax(1), weight=0.3)

    return Case(loss, nn.Module())


CASES: dict[str, Callable[[], Case]] = {
    "rob_dino": _rob,
    "rob_msn": lambda: _rob("msn"),
    "rob_swav": _rob_swav,
    "rob_ibot": _rob_ibot,
    "seed": _seed,
    "seed_small_patch": _small_patches,
    "dino": _dino,
    "ibot": _ibot,
    "swav": _swav,
    "moco": _moco,
    "msn": _msn,
    "kd": _kd,
}


def _inputs(step: int) -> Inputs:
    """Inputs of a whole batch; the second axis of all but the prototypes is the images'."""
    generator = torch.Generator().manual_seed(step)
    shapes = {
        "student": (4, BATCH, WIDTH),
        "teacher": (2, BATCH, WIDTH),
        "student_patch": (2, BATCH, 5, WIDTH),
        "teacher_patch": (2, BATCH, 5, WIDTH),
        "mask": (2, BATCH, 5),
        "prototypes": (10, WIDTH),
    }
    return {key: torch.randn(shape, generator=generator, dtype=torch.float64) for key, shape in shapes.items()}


def work(_: int) -> dict[str, dict[str, Any]]:
    """Some steps of every case on this process's share of the batch: losses, gradients and state."""
    share = BATCH // world_size()
    mine = slice(rank() * share, (rank() + 1) * share)
    results = {}
    for name, make in CASES.items():
        torch.manual_seed(7)
        case = make()
        losses, gradients = [], []
        for step in range(STEPS):
            inputs = {key: x if key == "prototypes" else x[:, mine] for key, x in _inputs(step).items()}
            leaves = {key: inputs[key].requires_grad_() for key in ("student", "student_patch", "prototypes")}
            loss = case.loss(inputs)
            loss.backward()
            case.after(inputs)
            losses.append(loss.detach())
            gradients.append({key: leaf.grad for key, leaf in leaves.items() if leaf.grad is not None})
        results[name] = {"losses": losses, "gradients": gradients, "state": case.state.state_dict()}
    return results
