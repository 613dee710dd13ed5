"""RoB's losses, targets and gradients (VISSL's distillation losses)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lowzoo.train.heads import MSNHead
from lowzoo.train.losses.msn import msn_targets
from lowzoo.train.losses.pairs import same_view_and_locals
from lowzoo.train.losses.rob import RobObjective
from lowzoo.train.losses.rob_ibot import rob_ibot_loss
from lowzoo.train.losses.rob_swav import SinkhornTargets
from tests.train.oracle_checks.entry import Entry, checks

PAIRINGS = (("", False), ("_swapped", True))

# The official MSN's softmax is at this temperature, before it is sharpened.
MSN_TEMPERATURE = 0.1


@checks("DINODistillationLoss")
def dino(entry: Entry) -> None:
    _prototype_loss(entry, entry["teacher_logits"])


@checks("MSNHead", "MSNDistillationLoss", "init_msn_loss")
def msn(entry: Entry) -> None:
    settings = entry.settings
    head = MSNHead(
        settings["in_dim"],
        settings["K"],
        hidden=settings["hidden"],
        bottleneck=settings["out_dim"],
        batch_norm=settings["use_bn"],
    ).double()
    head.load_state_dict(entry.state("teacher_head."), strict=False)
    head.train(settings["teacher_head_mode"] == "train")
    with torch.no_grad():
        embeddings = head.fc(entry["teacher_features"])
        scores = head.scores(normalize(embeddings, dim=-1))
    entry.expect("teacher_embeddings", embeddings)
    # A softmax at the teacher's temperature is the official one, at 0.1 and sharpened by what is left.
    sharpening = settings["teacher_temperature"] / MSN_TEMPERATURE
    sharpened = msn_targets(
        embeddings, head.prototypes, temperature=MSN_TEMPERATURE, sharpening=sharpening, iterations=0
    )
    probabilities = RobObjective(settings["teacher_temperature"]).targets(scores)
    entry.expect("max_abs_diff_official_msn_sharpened_target", (sharpened - probabilities).abs().max())
    entry.expect("teacher_probs", probabilities)
    _prototype_loss(entry, scores)


def _prototype_loss(entry: Entry, scores: Tensor) -> None:
    settings = entry.settings
    global_views, views = settings["global_views"], settings["global_views"] + settings["local_views"]
    if "number_of_terms_not_swapped" in settings:
        assert same_view_and_locals(global_views, views).sum() == settings["number_of_terms_not_swapped"]
    for suffix, swapped in PAIRINGS:
        objective = RobObjective(settings["teacher_temperature"], settings["student_temperature"], swapped)
        logits = entry.leaf("student_logits", views)
        loss = objective.loss(logits, objective.targets(scores.unflatten(0, (global_views, -1))))
        loss.backward()
        entry.expect(f"loss{suffix}", loss)
        entry.expect(f"grad_student_logits{suffix}", logits.grad)


@checks("SwAVDistillationLoss", "distributed_sinkhornknopp", "SwAVDistillationLoss.add_to_teacher_scores_queue")
def swav(entry: Entry) -> None:
    settings = entry.settings
    queue_length = settings.get("queue_length", 0)
    targets = SinkhornTargets(
        settings["K"],
        epsilon=settings["epsilon"],
        iterations=settings["sinkhorn_iterations"],
        queue_length=queue_length,
        hard=settings.get("hard_assignment", False),
    ).double()
    if queue_length:
        _swav_calls(entry, targets)
    else:
        _swav_variants(entry, targets)


def _swav_calls(entry: Entry, targets: SinkhornTargets) -> None:
    settings = entry.settings
    objective = RobObjective(1.0, settings["student_temperature"])
    for call in range(settings["calls"]):
        codes = targets.targets(entry.views(f"teacher_scores_{call}", settings["teacher_views"]))
        logits = entry.leaf(f"student_logits_{call}", settings["student_views"])
        loss = objective.loss(logits, codes)
        loss.backward()
        entry.expect(f"codes_{call}", codes)
        entry.expect(f"loss_{call}", loss)
        entry.expect(f"grad_student_logits_{call}", logits.grad)
    filled = int(targets.filled)
    assert filled == settings.get("filled_after_last_call", filled)
    entry.expect("queue_final", targets.queue[:filled])


def _swav_variants(entry: Entry, targets: SinkhornTargets) -> None:
    """Direct logits in both pairings; features scored by the teacher's prototypes, as they are and normalised."""
    settings = entry.settings
    codes = targets.targets(entry.views("teacher_scores", settings["teacher_views"]))
    entry.expect("codes", codes)

    def scored(features: Tensor) -> Tensor:
        return features @ entry["prototypes"].T

    variants: dict[str, tuple[str, bool, Callable[[Tensor], Tensor]]] = {
        "direct": ("student_logits", False, lambda logits: logits),
        "direct_swapped": ("student_logits", True, lambda logits: logits),
        "teacher_prototypes": ("student_features", False, scored),
        "teacher_prototypes_normalised_student": (
            "student_features",
            False,
            lambda features: scored(normalize(features, dim=-1)),
        ),
    }
    for name, (key, swapped, logits_of) in variants.items():
        if not entry.has(key):
            continue
        student = entry.leaf(key, settings["student_views"])
        objective = RobObjective(1.0, settings["student_temperature"], swapped)
        loss = objective.loss(logits_of(student), codes)
        loss.backward()
        entry.expect(f"loss_{name}", loss)
        entry.expect(f"grad_{name}", student.grad)


@checks("IBOTDistillationLoss")
def ibot(entry: Entry) -> None:
    settings = entry.settings
    global_views = settings["global_views"]
    weights = {"cls_weight": settings["lambda1"], "patch_weight": settings["lambda2"]}
    for suffix, swapped in PAIRINGS:
        student = {
            key: entry.leaf(key, views)
            for key, views in (
                ("student_cls", global_views),
                ("student_local_cls", settings["local_views"]),
                ("student_patch", global_views),
            )
            if views
        }

        def loss_with(
            weights: dict[str, float], swapped: bool = swapped, student: dict[str, Tensor] = student
        ) -> Tensor:
            return rob_ibot_loss(
                torch.cat([logits for key, logits in student.items() if key.endswith("cls")]),
                student["student_patch"],
                entry.views("teacher_cls", global_views),
                entry.views("teacher_patch", global_views),
                entry.views("mask", global_views).flatten(2).bool(),
                student_temperature=settings["student_temp"],
                teacher_temperature=settings["teacher_temp"],
                teacher_patch_temperature=settings["teacher_patch_temp"],
                swapped=swapped,
                **weights,
            )

        loss = loss_with(weights)
        loss.backward()
        entry.expect(f"loss{suffix}", loss)
        entry.expect(f"cls{suffix}", loss_with({**weights, "patch_weight": 0.0}))
        entry.expect(f"patch{suffix}", loss_with({**weights, "cls_weight": 0.0}))
        for key, logits in student.items():
            entry.expect(f"grad_{key}{suffix}", logits.grad)
