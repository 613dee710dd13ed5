"""The optimiser's part of a step: schedules, loss scaling, clipping, parameter groups."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.guard import all_finite
from lowzoo.train.networks.step import Method, StepContext
from lowzoo.train.optim.optim import make_optimizer, set_step
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.recipes.schedules import cosine, warmup_cosine
from lowzoo.train.settings.changes import Change, last_extension, rewarm
from lowzoo.train.settings.length import Length

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def precision_of(config: TrainConfig, device: torch.device) -> tuple[str, Callable[[], Any]]:
    """The precision of a run's networks, and a maker of the context in which they compute.

    Returns:
        fp32, bf16 or fp16; "auto" is bf16 on a GPU and fp32 elsewhere.

    Raises:
        LowzooError: fp16 on a CPU, where it has no range to spare and no speed to win.
    """
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise LowzooError("precision fp16 needs a GPU", "Use --precision bf16 or fp32")
    dtype = _DTYPES.get(precision, torch.bfloat16)
    return precision, partial(torch.autocast, device.type, dtype, enabled=precision != "fp32")


def learning_rates(config: TrainConfig, length: Length, changes: Sequence[Change] = ()) -> np.ndarray:
    """The rate of each step; where the run was given another length on the way, see `rewarm`."""
    rates = warmup_cosine(
        _where(config, length),
        start=config.lr_start,
        peak=config.peak_lr,
        end=config.lr_end,
        warmup=config.warmup,
        # SSLight's counts the points at which the rate may change, which a budget does not know.
        form="cosine" if config.minutes and config.schedule == "sslight" else config.schedule,
    )
    extension = last_extension(changes)
    return rates if extension is None else rewarm(rates, *extension)


def _where(config: TrainConfig, length: Length) -> np.ndarray:
    """Progress at which rate and decay are taken."""
    return length.progress(config.update if config.epochs else "step")


class Updates:
    """Moves a student; all schedules are arrays of one value a step.

    Args:
        config: Configuration of the run.
        student: With its head.
        length: Length of the run.
        device: Where it trains.
        precision: See `precision_of`.
        changes: That were made on the way.
    """

    def __init__(
        self,
        config: TrainConfig,
        student: nn.Module,
        length: Length,
        device: torch.device,
        precision: str,
        changes: Sequence[Change] = (),
    ) -> None:
        self._config = config
        self._student = student
        self._changes = changes
        self.lay(length)
        self._optimizer = make_optimizer(config, student)
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def __len__(self) -> int:
        return len(self.rates)

    def lay(self, length: Length) -> None:
        """Lay the schedules over a length."""
        config = self._config
        self.progress = length.progress()
        self.rates = learning_rates(config, length, self._changes)
        self.decays = cosine(_where(config, length), config.weight_decay, config.weight_decay_end)

    def backward(self, loss: Tensor) -> None:
        """Add a part's gradients."""
        self._scaler.scale(loss).backward()

    def apply(self, method: Method, now: StepContext) -> None:
        """Let the method treat the gradients, clip them, and move the student."""
        set_step(self._optimizer, float(self.rates[now.step]), float(self.decays[now.step]))
        self._scaler.unscale_(self._optimizer)
        method.after_backward(now)
        if self._config.clip_grad:
            nn.utils.clip_grad_norm_(self._student.parameters(), self._config.clip_grad)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        constants = ("betas", "momentum")
        wanted: list[dict[str, Any]] = [{key: g[key] for key in constants if key in g} for g in self._groups]
        self._optimizer.load_state_dict(state["optimizer"])
        # torch restores the constants of the optimiser, too, and the run may go on under others.
        for group, values in zip(self._groups, wanted, strict=True):
            group.update(values)
        # A scaler that was not in use has no state.
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def finite(self) -> bool:
        """Whether all that the optimiser remembers are finite numbers."""
        return all_finite(x for state in self._optimizer.state.values() for x in state.values())

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self._optimizer.param_groups
