"""Objectives without a frozen teacher: DINO and iBOT with their centres, SwAV with its queues; official and SSLight."""

import torch

from lowzoo.train.losses.dino import DinoObjective
from lowzoo.train.losses.ibot import IbotObjective
from lowzoo.train.losses.swav import SwavObjective
from lowzoo.train.recipes.schedules import teacher_temperature
from tests.train.oracle_checks.entry import Entry, checks


@checks("DINOLoss")
def dino(entry: Entry) -> None:
    settings = entry.settings
    global_views = settings.get("global_views", 2)
    objective = DinoObjective(
        settings["K"], student_temperature=settings["student_temp"], centre_momentum=settings["center_momentum"]
    ).double()
    for call, epoch in enumerate(settings["epoch_of_call"]):
        temperature = _temperature(entry, epoch)
        entry.expect(f"teacher_temp_{call}", temperature)
        logits = entry.leaf(f"student_logits_{call}", global_views + settings["local_views"])
        teacher = entry.views(f"teacher_logits_{call}", global_views)
        targets = objective.targets(teacher, temperature)
        loss = objective.loss(logits, targets, settings.get("alpha"), settings.get("beta"))
        loss.backward()
        objective.update_centre(teacher)
        entry.expect(f"loss_{call}", loss)
        entry.expect(f"grad_student_logits_{call}", logits.grad)
        entry.expect(f"center_{call}", objective.centre)
    if entry.has("teacher_temp_schedule"):
        epochs = range(len(entry["teacher_temp_schedule"]))
        entry.expect("teacher_temp_schedule", torch.tensor([_temperature(entry, epoch) for epoch in epochs]).double())


def _temperature(entry: Entry, epoch: int) -> float:
    settings = entry.settings
    epochs = settings["total_epochs"] if "total_epochs" in settings else settings["epochs"]
    return teacher_temperature(
        epoch,
        epochs,
        start=settings["warmup_teacher_temp"],
        end=settings["teacher_temp"],
        warmup=settings["warmup_teacher_temp_epochs"] / epochs,
    )


@checks("iBOTLoss")
def ibot(entry: Entry) -> None:
    settings = entry.settings
    global_views = settings.get("global_views", 2)
    momentum = settings["center_momentum"]
    objective = IbotObjective(
        settings["K"],
        settings.get("patch_K"),
        student_temperature=settings["student_temp"],
        centre_momentum=momentum,
        patch_centre_momentum=settings.get("center_momentum2", momentum),
        cls_weight=settings.get("lambda1", 1.0),
        patch_weight=settings.get("lambda2", 1.0),
    ).double()
    for call, epoch in enumerate(settings["epoch_of_call"]):
        temperature = _temperature(entry, epoch)
        student = {
            key: entry.leaf(f"{key}_{call}", views)
            for key, views in (
                ("student_cls", global_views),
                ("student_local_cls", settings["local_views"]),
                ("student_patch", global_views),
            )
            if views
        }
        teacher = [entry.views(f"{key}_{call}", global_views) for key in ("teacher_cls", "teacher_patch")]
        inputs = (
            torch.cat([logits for key, logits in student.items() if key.endswith("cls")]),
            student["student_patch"],
            *teacher,
            entry.views(f"mask_{call}", global_views).flatten(2).bool(),
        )
        terms = {}
        weights = objective.cls_weight, objective.patch_weight
        for term, part in (("cls", (weights[0], 0.0)), ("patch", (0.0, weights[1])), ("loss", weights)):
            objective.cls_weight, objective.patch_weight = part
            terms[term] = objective.loss(*inputs, temperature=temperature, patch_temperature=temperature)
            entry.expect(f"{term}_{call}", terms[term])
        terms["loss"].backward()
        for key, logits in student.items():
            entry.expect(f"grad_{key}_{call}", logits.grad)
        objective.update_centres(*teacher)
        entry.expect(f"center_cls_{call}", objective.cls.centre)
        entry.expect(f"center_patch_{call}", objective.patch.centre)


@checks("SWAVLoss")
def swav(entry: Entry) -> None:
    settings = entry.settings
    global_views = settings["global_views"]
    prototypes = entry["prototypes"]
    objective = SwavObjective(
        settings["dim"],
        global_views=global_views,
        queue_length=settings["queue_length"],
        temperature=settings["temperature"],
        epsilon=settings["epsilon"],
        iterations=settings["sinkhorn_iterations"],
    ).double()
    for call in range(settings["calls"]):
        embeddings = entry.views(f"embeddings_{call}", global_views + settings["local_views"])
        logits = (embeddings @ prototypes.T).requires_grad_()
        used = objective.queue_is_full()
        entry.expect(f"queue_used_{call}", float(used))
        entry.expect(f"codes_{call}", objective.codes(logits.detach(), prototypes, use_queue=True))
        loss = objective.loss(
            logits, prototypes_KD=prototypes, use_queue=True, alpha=settings["alpha"], beta=settings["beta"]
        )
        loss.backward()
        objective.enqueue(embeddings[:global_views])
        entry.expect(f"loss_{call}", loss)
        entry.expect(f"grad_logits_{call}", logits.grad)
        entry.expect(f"queue_{call}", objective.queue)
