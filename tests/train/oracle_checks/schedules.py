"""Schedules of RoB (VISSL), SEED and SSLight."""

from typing import Any

import numpy as np
import torch

from lowzoo.train.recipes.schedules import cosine, milestones, progress, warmup_cosine
from tests.train.oracle_checks.entry import Entry, checks


@checks("CompositeParamScheduler")
def vissl(entry: Entry) -> None:
    for name, settings in entry.settings.items():
        where = progress(settings["points"], 1, "step")
        values = warmup_cosine(
            where,
            start=settings["start"],
            peak=settings.get("peak", settings["start"]),
            end=settings["end"],
            warmup=settings.get("warmup_fraction", 0.0),
            form="vissl",
        )
        entry.expect(name, torch.from_numpy(values))


@checks("adjust_learning_rate")
def seed(entry: Entry) -> None:
    settings = entry.settings
    epochs, start, peak = settings["epochs"], settings["base_lr"], settings["base_lr"] * settings["lr_mult"]
    where = progress(epochs, 1, "epoch")
    warmup = settings["warmup_epochs"] / epochs
    if settings["cosine"]:
        values = warmup_cosine(where, start=start, peak=peak, end=0.0, warmup=warmup, form="vissl")
    else:
        values = milestones(
            where, start=start, peak=peak, at=[m / epochs for m in settings["milestones"]], warmup=warmup
        )
    entry.expect("lr", torch.from_numpy(values))


@checks("cosine_scheduler", "multistep_scheduler")
def sslight(entry: Entry) -> None:
    for name, settings in entry.settings.items():
        entry.expect(name, torch.from_numpy(_SSLIGHT[settings["function"]](settings)))


def _cosine(settings: dict[str, Any]) -> np.ndarray:
    where = progress(settings["epochs"], settings["niter_per_ep"], "step")
    peak, end = settings["base_value"], settings["final_value"]
    warmup = settings.get("warmup_epochs", 0)
    if not warmup:
        return cosine(where, peak, end)
    start = settings["start_warmup_value"]
    return warmup_cosine(where, start=start, peak=peak, end=end, warmup=warmup / settings["epochs"], form="sslight")


def _milestones(settings: dict[str, Any]) -> np.ndarray:
    epochs, peak = settings["epochs"], settings["base_value"]
    where = progress(epochs, settings["niter_per_ep"], "epoch")
    at = [epoch / epochs for epoch in settings["milestones"]]
    return milestones(where, start=peak, peak=peak, at=at, factor=settings["gamma"])


_SSLIGHT = {"cosine_scheduler": _cosine, "multistep_scheduler": _milestones}
