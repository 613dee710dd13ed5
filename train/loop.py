"""The training loop of RoB: from a configuration and a source of images to a run folder."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.evaluate.device import pick_device
from lowzoo.files import writable_folder, write_text
from lowzoo.train import run_folder
from lowzoo.train.bad_images import BadImageLog
from lowzoo.train.checkpoint import load_checkpoint, save_checkpoint
from lowzoo.train.config import RobConfig
from lowzoo.train.curves import read_metrics
from lowzoo.train.dataset import EpochBatches, ViewBatch, ViewDataset, check_source, make_loader
from lowzoo.train.machine import default_workers
from lowzoo.train.monitor import KnnMonitor
from lowzoo.train.networks import announce_fit, complete_student, complete_teacher, create_backbones
from lowzoo.train.objectives.rob import TEACHER_TEMPERATURE, RobObjective
from lowzoo.train.optim import adamw, set_step
from lowzoo.train.progress import Progress, StepClock
from lowzoo.train.result import RunResult, conclude
from lowzoo.train.schedules import cosine, progress, warmup_cosine
from lowzoo.train.views import photometric

_LOG_STEPS = 10


class RobRun:
    """One run: everything that lives while it trains.

    What can be wrong is found before the run folder is made; the folder then belongs to this run.

    Args:
        config: Resolved configuration.
        source: Training images.
        held_out: Labelled images for the monitor, or None.
        folder: Run folder; made if missing.
        resume: Go on from the folder's checkpoint.
        say: Called with one line of text for the reader.

    Raises:
        LowzooError: Unusable images, teacher, student, device or folder; a folder that holds a run already.
    """

    def __init__(
        self,
        config: RobConfig,
        source: ImageSource,
        held_out: ImageSource | None,
        folder: Path,
        *,
        resume: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        check_source(source, config.batch_size)
        self.config, self.source, self.folder = config, source, folder
        self.device = pick_device(config.device)
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and self.device.type == "cuda")
        if not resume and (folder / "config.toml").exists():
            raise LowzooError(f"{folder} already holds a run", "Add --resume to go on with it, or name another --out")
        state = load_checkpoint(folder) if resume else None
        teacher, backbone = create_backbones(config)
        announce_fit(teacher, config, say)
        writable_folder(folder)
        self.teacher = complete_teacher(teacher, config, source, folder, self.device, bf16=self.bf16)
        self.student = complete_student(backbone, config, self.teacher, self.device)
        self.objective = RobObjective(
            config.teacher_temperature or TEACHER_TEMPERATURE[config.loss], config.student_temperature, config.swapped
        )
        self.optimizer = adamw([self.student], lr=config.lr, weight_decay=config.weight_decay, betas=config.betas)
        self.steps_per_epoch = len(source) // config.batch_size
        where = progress(config.epochs, self.steps_per_epoch, config.update)
        self.lrs = warmup_cosine(
            where, start=config.lr_start, peak=config.lr, end=config.lr_end, warmup=config.warmup, form=config.schedule
        )
        self.decays = cosine(where, config.weight_decay, config.weight_decay_end)
        self.bad = BadImageLog(folder / "bad_images.txt", config.max_bad_share)
        self.metrics = folder / "metrics.jsonl"
        self.step = 0
        if resume:
            self._restore(state)
            say(f"Resuming at step {self.step} of {len(self.lrs)}")
        run_folder.write_config(folder, config)
        self.monitor = None
        if config.monitor_epochs and held_out is not None and source.labels is not None:
            self.monitor = KnnMonitor(source, held_out, config.global_size, config.monitor_bank, config.monitor_queries)

    def train(self, bar: Progress) -> RunResult:
        """Run to the end, with checkpoints on the way, and write what remains of the run."""
        config = self.config
        started, first_step = time.perf_counter(), self.step
        if self.step == 0:
            self._measure(bar)
        batches = EpochBatches(len(self.source), config.batch_size, config.epochs, config.seed, self.step)
        workers = config.workers if config.workers is not None else default_workers(self.device)
        dataset = ViewDataset(self.source, config.views, config.seed)
        loader = make_loader(dataset, batches, workers=workers, pin=self.device.type == "cuda")
        clock = StepClock(self.device)
        loss = torch.full((), torch.nan)
        self.student.train()
        with bar.running(len(self.lrs), self.step):
            for batch in clock.iterate(loader):
                self.bad.add(batch.bad, self.step * config.batch_size + len(batch) + len(batch.bad))
                if len(batch):
                    loss = self._one_step(batch, clock)
                self.step += 1
                epoch, rest = divmod(self.step, self.steps_per_epoch)
                if len(batch) and (self.step % _LOG_STEPS == 0 or rest == 0):
                    bar.update(self.step, self._log(float(loss), clock))
                if rest == 0 and config.monitor_epochs and epoch % config.monitor_epochs == 0:
                    self._measure(bar)
                if rest == 0 or (config.checkpoint_steps and self.step % config.checkpoint_steps == 0):
                    self._save()
                    clock.pause()
        if self.step > first_step and config.monitor_epochs and config.epochs % config.monitor_epochs:
            self._measure(bar)
        steps = self.step - first_step
        return conclude(
            self.folder,
            config,
            self.student,
            self.teacher.facts,
            self.source,
            self.device,
            steps=self.step,
            bf16=self.bf16,
            images_per_s=round(steps * config.batch_size / (time.perf_counter() - started), 1) if steps else None,
            unreadable=len(self.bad.names),
        )

    def _one_step(self, batch: ViewBatch, clock: StepClock) -> Tensor:
        # Every random choice inside the networks (drop path, dropped patches) depends on the step alone, so that a
        # resumed run makes the same ones without a generator's state in the checkpoint.
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        set_step(self.optimizer, float(self.lrs[self.step]), float(self.decays[self.step]))
        groups = self._finish_views(batch)
        with clock.part("teacher"), self._autocast():
            targets = self.objective.targets(self.teacher(groups[0]).float())
        with self._autocast():
            logits = self.student(groups)
        loss = self.objective.loss(logits.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip_grad:
            nn.utils.clip_grad_norm_(self.student.parameters(), self.config.clip_grad)
        self.optimizer.step()
        return loss.detach()

    def _finish_views(self, batch: ViewBatch) -> list[Tensor]:
        """The device's part of the views: one float tensor (count, B, 3, S, S) a group."""
        groups, first = [], 0
        for crops in batch.crops:
            images, count = crops.shape[:2]
            pixels = crops.to(self.device, non_blocking=True).transpose(0, 1).flatten(0, 1)
            params = batch.photometric[:, first : first + count].transpose(0, 1).flatten(0, 1)
            groups.append(photometric(pixels, params).unflatten(0, (count, images)))
            first += count
        return groups

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _measure(self, bar: Progress) -> None:
        if self.monitor is not None:
            knn = self.monitor.measure(self.student.backbone, self.device, bf16=self.bf16)
            self._append({"step": self.step, "epoch": self.step / self.steps_per_epoch, "knn": round(knn, 3)})
            bar.note(knn)

    def _log(self, loss: float, clock: StepClock) -> dict[str, Any]:
        if not np.isfinite(loss):
            raise LowzooError(
                f"the loss became {loss} at step {self.step}", "Lower the learning rate (--set lr=...) or use fp32"
            )
        row = {
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 4),
            "loss": loss,
            "lr": float(self.lrs[self.step - 1]),
            "weight_decay": float(self.decays[self.step - 1]),
            **clock.report(self.config.batch_size),
        }
        self._append(row)
        return row

    def _append(self, row: dict[str, Any]) -> None:
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise LowzooError(
                f"cannot write {self.metrics}: {error.strerror}", "Free some space, then go on with --resume"
            ) from error

    def _save(self) -> None:
        save_checkpoint(
            self.folder,
            {
                "step": self.step,
                "student": self.student.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "bad": self.bad.names,
            },
        )

    def _restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint; from the start if the run was ended before it wrote one."""
        if state is not None:
            self.step = int(state["step"])
            self.student.load_state_dict(state["student"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.bad.restore(state["bad"])
        # Rows after the checkpoint will be written again.
        rows = [row for row in read_metrics(self.metrics) if row["step"] <= self.step and state is not None]
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
