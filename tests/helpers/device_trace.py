"""Steps of a tiny run on a GPU that is not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lowzoo.data.source import open_source
from lowzoo.system.device_trace import DeviceTrace
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.build import build_method
from lowzoo.train.runs.loop import Run

ON_GPU = ("device=cuda", "precision=bf16", "monitor_epochs=0")


def traced_steps(
    world: Path,
    out: Path,
    config: TrainConfig,
    *,
    cache: Path | None = None,
    build: Callable[..., Any] = build_method,
    allowed: tuple[str, ...] = (),
    steps: int = 2,
) -> DeviceTrace:
    """The trace of some steps after the first, in which a run may ask once what it has to know."""
    trace = DeviceTrace(allowed, watch=True)
    with trace:
        run = Run(config, open_source(world), None, out, teacher_cache=cache, build=build)
        trace.hold(run.student)
        given = run.steps(StepClock(run.device))
        next(given)
        trace.reset()
        for _ in range(steps):
            next(given)
        given.close()
    return trace


def types_of_networks(trace: DeviceTrace) -> set[torch.dtype]:
    """Floating types of the products and attentions that timm's networks compute."""
    names = {"mm", "addmm", "convolution", "_scaled_dot_product_flash_attention", "bmm"}
    return _types(trace, names, "/timm/")


def types_of_losses(trace: DeviceTrace) -> set[torch.dtype]:
    """Floating types of all that losses and their kernels compute."""
    return _types(trace, None, "/train/losses/") | _types(trace, None, "/train/kernels/")


def _types(trace: DeviceTrace, names: set[str] | None, part: str) -> set[torch.dtype]:
    return {
        dtype
        for operation in trace.operations
        if part in operation.where and (names is None or operation.name in names) and operation.name != "_to_copy"
        for dtype in operation.types
    }
