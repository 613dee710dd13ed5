"""Objectives with a queue of keys: SEED and its small patches, MoCo and SSLight's multi-crop form of it."""

from collections import OrderedDict
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.train.heads import ProjectionHead
from lowzoo.train.kernels.queue_cross_entropy import queue_similarities
from lowzoo.train.losses.moco import MocoObjective, multi_crop_info_nce
from lowzoo.train.losses.queue import KeyQueue
from lowzoo.train.losses.seed import SeedObjective, SmallPatchObjective
from lowzoo.train.networks.step import ema_update
from tests.train.oracle_checks.entry import Entry, checks

Objective = TypeVar("Objective", bound=SeedObjective)


@checks("SEED.forward", "soft_cross_entropy", "train")
def seed(entry: Entry) -> None:
    if "local_views" in entry.settings:
        _small_patches(entry)
    else:
        _seed(entry)


def _seed(entry: Entry) -> None:
    objective = _objective(entry, SeedObjective)
    for step in range(entry.settings["steps"]):
        student, teacher = entry.leaf(f"student_raw_{step}"), entry[f"teacher_raw_{step}"]
        _distributions(entry, "", step, objective, objective.queue, student, teacher)
        loss = objective.loss(student, teacher)
        loss.backward()
        objective.enqueue(teacher)
        entry.expect(f"loss_{step}", loss)
        entry.expect(f"grad_student_raw_{step}", student.grad)
        entry.expect(f"pointer_after_{step}", float(objective.queue.pointer))
        entry.expect(f"queue_{step + 1}", objective.queue.keys.T)


def _small_patches(entry: Entry) -> None:
    objective = _objective(entry, SmallPatchObjective)
    objective.small_queue.keys.copy_(entry["small_queue_0"].T)
    plain = _objective(entry, SeedObjective)
    for step in range(entry.settings["steps"]):
        student, teacher = entry.leaf(f"student_raw_{step}"), entry[f"teacher_{step}"]
        # The original stacks image by image, the objective view by view.
        locals_ = entry.leaf(f"student_local_raw_{step}")
        teacher_locals = entry[f"teacher_local_{step}"]
        _distributions(entry, "", step, objective, objective.queue, student, teacher)
        rows = locals_.flatten(0, 1), teacher_locals.flatten(0, 1)
        _distributions(entry, "local_", step, objective, objective.small_queue, *rows)
        plain.queue.load_state_dict(objective.queue.state_dict())
        global_loss = plain.loss(student.detach(), teacher)
        views = teacher_locals.transpose(0, 1)
        loss = objective.loss(student, teacher, locals_.transpose(0, 1), views)
        loss.backward()
        objective.enqueue(teacher, views)
        entry.expect(f"loss_{step}", loss)
        entry.expect(f"loss_global_{step}", global_loss)
        entry.expect(f"loss_local_{step}", loss.detach() - global_loss)
        entry.expect(f"grad_student_raw_{step}", student.grad)
        entry.expect(f"grad_student_local_raw_{step}", locals_.grad)
        entry.expect(f"queue_{step + 1}", objective.queue.keys.T)
        entry.expect(f"small_queue_{step + 1}", objective.small_queue.keys.T)


def _objective(entry: Entry, kind: type[Objective]) -> Objective:
    settings = entry.settings
    objective = kind(
        settings["dim"],
        settings["K"],
        student_temperature=settings["student_temperature"],
        teacher_temperature=settings["teacher_temperature"],
    ).double()
    objective.queue.keys.copy_(entry["queue_0"].T)
    return objective


def _distributions(
    entry: Entry, kind: str, step: int, objective: SeedObjective, queue: KeyQueue, student: Tensor, teacher: Tensor
) -> None:
    own = normalize(teacher, dim=1)
    logits = queue_similarities(normalize(student.detach(), dim=1), own, queue.keys) / objective.student_temperature
    targets = queue_similarities(own, own, queue.keys) / objective.teacher_temperature
    entry.expect(f"student_{kind}logits_{step}", logits)
    entry.expect(f"teacher_{kind}probs_{step}", targets.softmax(1))


@checks("MoCo")
def moco(entry: Entry) -> None:
    """The original's forward pass with an encoder of one linear layer."""
    settings = entry.settings
    start = entry.state("start.")
    query, key = (_linear(entry.state(f"start.{name}.fc.")) for name in ("encoder_q", "encoder_k"))
    objective = MocoObjective(settings["dim"], settings["K"], temperature=settings["temperature"]).double()
    objective.queue.keys.copy_(start["queue"].T)
    step = 0
    while entry.has(f"query_in_{step}"):
        queries = query(entry[f"query_in_{step}"])
        ema_update(key, query, settings["ema"])
        with torch.no_grad():
            keys = key(entry[f"key_in_{step}"])
        entry.expect(f"logits_{step}", objective.logits(queries, keys))
        entry.expect(f"loss_{step}", objective.loss(queries[None], keys))
        objective.enqueue(keys)
        entry.expect(f"queue_after_{step}", objective.queue.keys.T)
        step += 1
    for name, value in key.state_dict().items():
        entry.expect(f"end.encoder_k.fc.{name}", value)


def _linear(state: dict[str, Tensor]) -> nn.Linear:
    layer = nn.Linear(*reversed(state["weight"].shape)).double()
    layer.load_state_dict(state)
    return layer


@checks("MOCO", "MOCOLoss")
def multi_crop_moco(entry: Entry) -> None:
    """Whole steps: queries, EMA before the keys, loss, SGD on the query encoder, enqueue."""
    settings = entry.settings
    query, key = _encoder(entry, "start.encoder_q."), _encoder(entry, "start.encoder_k.")
    sgd = torch.optim.SGD(query.parameters(), lr=settings["sgd_lr"])
    objective = MocoObjective(settings["dim"], settings["K"], temperature=settings["temperature"]).double()
    objective.queue.keys.copy_(entry["queue_start"].T)
    for step in range(settings["steps"]):
        first, *others = entry[f"features_{step}"]
        queries = query(torch.stack(others))
        ema_update(key, query, settings["ema_momentum"])
        with torch.no_grad():
            keys = key(first)
        logits = objective.logits(queries.flatten(0, 1), keys.repeat(len(others), 1))
        logits.retain_grad()
        loss = multi_crop_info_nce(logits.unflatten(0, queries.shape[:2]), settings["alpha"], settings["beta"])
        entry.expect(f"loss_{step}", objective.loss(queries, keys, settings["alpha"], settings["beta"]))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        objective.enqueue(keys)
        entry.expect(f"queries_{step}", normalize(queries, dim=-1))
        entry.expect(f"keys_{step}", normalize(keys, dim=-1))
        entry.expect(f"logits_{step}", logits)
        entry.expect(f"grad_logits_{step}", logits.grad)
        entry.expect(f"queue_after_{step}", objective.queue.keys.T)
    for name, encoder in (("encoder_q", query), ("encoder_k", key)):
        for parameter, value in encoder.state_dict().items():
            entry.expect(f"end.{name}.{parameter}", value)


def _encoder(entry: Entry, prefix: str) -> nn.Module:
    """The stand-in backbone (linear, tanh) and the head."""
    state = entry.state(prefix)
    width, in_dim = state["backbone.f.weight"].shape
    backbone = nn.Sequential(OrderedDict(f=nn.Linear(in_dim, width), tanh=nn.Tanh()))
    head = ProjectionHead(width, entry.settings["dim"], hidden=entry.settings["hidden"])
    encoder = nn.Sequential(OrderedDict(backbone=backbone, head=head)).double()
    encoder.load_state_dict(state)
    return encoder
