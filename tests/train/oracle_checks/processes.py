"""What each of several processes computes for `tests/train/oracle_checks/ranks.py`.

Outside that package, as a fresh process would otherwise import all checks and their models, which takes three times
as long.
"""

from typing import Any

import torch
from torch import Tensor

from lowzoo.train.distributed.collectives import all_gather_rows, peers
from lowzoo.train.losses.dino import DinoObjective
from lowzoo.train.losses.rob import RobObjective
from lowzoo.train.losses.rob_swav import SinkhornTargets
from lowzoo.train.losses.swav import SwavObjective

# What the entry's description fixes beside its settings.
STUDENT_TEMPERATURE = 0.1
TEACHER_TEMPERATURE = 0.04
EPSILON, SWAV_EPSILON = 0.03, 0.05
ALPHA, BETA = 0.4, 0.6


def compute(rank: int, inputs: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Tensor]:
    """One process's part."""
    global_views = settings["global_views"]

    def mine(key: str, views: int) -> Tensor:
        return inputs[key][rank].unflatten(0, (views, -1))

    student = mine("student_logits", global_views + settings["local_views"])
    scores, logits = mine("teacher_scores", global_views), mine("teacher_logits", global_views)
    codes = SinkhornTargets(settings["K"], epsilon=EPSILON, peers=peers()).targets(scores)
    dino = DinoObjective(settings["K"], centre_momentum=settings["center_momentum"], peers=peers()).double()
    targets = dino.targets(logits, TEACHER_TEMPERATURE)
    dino_loss = dino.loss(student, targets, ALPHA, BETA)
    dino.update_centre(logits)
    swav = SwavObjective(settings["dim"], global_views=global_views, epsilon=SWAV_EPSILON, peers=peers())
    return {
        "codes": codes.flatten(0, 1),
        "loss_swav": RobObjective(1.0, STUDENT_TEMPERATURE).loss(student, codes),
        "loss_sslight_dino": dino_loss,
        "center": dino.centre,
        "sslight_codes": swav.codes(scores, torch.empty(0), use_queue=False).flatten(0, 1),
        "gathered_keys": all_gather_rows(inputs["keys"][rank]),
    }
