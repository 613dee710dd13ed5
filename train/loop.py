"""The training loop of RoB: one pass from a configuration and a source of images to a run folder."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lowzoo
from lowzoo.catalog import student_architecture
from lowzoo.data.source import ImageSource
from lowzoo.errors import LowzooError
from lowzoo.files import writable_folder, write_text
from lowzoo.train import run_folder
from lowzoo.train.bad_images import BadImageLog
from lowzoo.train.checkpoint import load_checkpoint, save_checkpoint
from lowzoo.train.config import RobConfig
from lowzoo.train.curves import draw_curves, read_metrics
from lowzoo.train.dataset import EpochBatches, ViewBatch, ViewDataset, check_source, make_loader
from lowzoo.train.encoder import MultiViewEncoder, create_student, feature_width, use_plain_attention
from lowzoo.train.head_files import load_head, save_head
from lowzoo.train.heads import DINOHead, HeadSpec
from lowzoo.train.monitor import KnnMonitor, features_of, load_squares
from lowzoo.train.objectives.rob import TEACHER_TEMPERATURE, RobObjective
from lowzoo.train.optim import adamw, set_step
from lowzoo.train.progress import Progress, StepClock
from lowzoo.train.schedules import cosine, progress, warmup_cosine
from lowzoo.train.teachers import Teacher, fit_teacher_head, load_teacher, with_fitted_head
from lowzoo.train.views import photometric

_LOG_STEPS = 10
Say = Callable[[str], None]


@dataclass(frozen=True)
class RunResult:
    """What a finished run gives.

    Args:
        folder: The run folder.
        loss: Of the last logged step, nats.
        knn: Monitor's top-1 in per cent at the end, None without labels.
        knn_init: The same at initialisation.
        facts: The content of `run.json`.
    """

    folder: Path
    loss: float
    knn: float | None
    knn_init: float | None
    facts: dict[str, Any]


class RobRun:
    """One run: everything that lives while it trains.

    Args:
        config: Resolved configuration.
        source: Training images.
        held_out: Labelled images for the monitor, or None.
        folder: Run folder; made if missing.
        resume: Go on from the folder's checkpoint.
        say: Called with one line of text for the reader.
    """

    def __init__(
        self,
        config: RobConfig,
        source: ImageSource,
        held_out: ImageSource | None,
        folder: Path,
        *,
        resume: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        check_source(source, config.batch_size)
        self.config, self.source, self.say = config, source, say
        self.device = pick_device(config.device)
        self.amp = config.precision == "bf16" or (config.precision == "auto" and self.device.type == "cuda")
        self.folder = writable_folder(folder)
        # A damaged or missing checkpoint is found before the teacher is loaded.
        state = load_checkpoint(self.folder) if resume else None
        if not resume and (self.folder / "config.toml").exists():
            raise LowzooError(f"{folder} already holds a run", "Add --resume to go on with it, or name another --out")
        self.teacher = self._make_teacher().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = self._make_student().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        self.bad = BadImageLog(self.folder / "bad_images.txt", config.max_bad_share)
        self.metrics = self.folder / "metrics.jsonl"
        self.step = 0
        if state is not None:
            self._restore(state)
        run_folder.write_config(self.folder, config)
        self.monitor = self._make_monitor(held_out)

    def train(self, bar: Progress) -> RunResult:
        """Run to the end; checkpoints on the way."""
        config = self.config
        started = time.perf_counter()
        first_step = self.step
        knn = self._measure() if self.step == 0 else self._last("knn")
        batches = EpochBatches(len(self.source), config.batch_size, config.epochs, config.seed, self.step)
        workers = config.workers if config.workers is not None else default_workers(self.device)
        dataset = ViewDataset(self.source, config.views, config.seed)
        loader = make_loader(dataset, batches, workers=workers, pin=self.device.type == "cuda")
        clock = StepClock(self.device)
        bar.start(len(self.lrs), self.step)
        loss = torch.zeros(())
        self.student.train()
        for batch in clock.iterate(loader):
            self.bad.add(batch.bad, self.step * config.batch_size + len(batch) + len(batch.bad))
            if len(batch):
                loss = self._one_step(batch, clock)
            self.step += 1
            epoch_ends = self.step % self.steps_per_epoch == 0
            if self.step % _LOG_STEPS == 0 or epoch_ends:
                row = self._log(float(loss), clock)
                bar.update(self.step, row)
            epoch = self.step // self.steps_per_epoch
            if epoch_ends and config.monitor_epochs and (epoch % config.monitor_epochs == 0 or epoch == config.epochs):
                knn = self._measure()
                bar.note(knn)
            if epoch_ends or (config.checkpoint_steps and self.step % config.checkpoint_steps == 0):
                self._save()
                clock.pause()
        bar.stop()
        return self._finish(knn, time.perf_counter() - started, self.step - first_step)

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
        loss.backward()  # type: ignore[no-untyped-call]
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
            params = batch.photometric[:, first : first + count].transpose(0, 1).reshape(count * images, -1)
            groups.append(photometric(pixels, params).unflatten(0, (count, images)))
            first += count
        return groups

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp)

    def _make_teacher(self) -> Teacher:
        config = self.config
        teacher = load_teacher(
            config.teacher, size=config.global_size, head=config.teacher_head, file=config.teacher_file
        )
        if config.teacher_head == "own":
            return teacher
        path = self.folder / "teacher_head.safetensors"
        if path.exists():
            head, _, _, _ = load_head(path)
            facts = json.loads((self.folder / "teacher_head.json").read_text(encoding="utf-8"))
            return with_fitted_head(teacher, head, facts)
        self.say(f"Fitting {config.prototypes} prototypes to the embeddings of {config.teacher} (an extension of RoB)")
        squares, _ = load_squares(self.source, config.fitted_images, config.global_size, config.seed)
        teacher = teacher.to(self.device)
        features = features_of(teacher.backbone, squares, self.device, autocast=self._autocast)
        teacher = fit_teacher_head(
            teacher.cpu(),
            features,
            prototypes=config.prototypes,
            bottleneck=config.fitted_bottleneck,
            whitening=config.fitted_whitening,
            seed=config.seed,
        )
        head = teacher.head
        assert head is not None
        spec = HeadSpec(kind="fitted", bottleneck=head.projection.shape[1])
        save_head(path, head, spec, features.shape[1], config.prototypes)
        write_text(self.folder / "teacher_head.json", json.dumps(teacher.facts.as_dict(), indent=2) + "\n")
        return teacher

    def _make_student(self) -> MultiViewEncoder:
        config = self.config
        torch.manual_seed(config.seed)
        sizes = {group.size for group in config.views}
        backbone = create_student(
            config.student,
            size=config.global_size,
            sizes=len(sizes),
            drop_path=config.drop_path,
            patch_drop=config.patch_drop,
        )
        if self.device.type == "cpu":
            use_plain_attention(backbone)
        self.features = feature_width(backbone, config.global_size)
        head = config.student_head.build(self.features, self.teacher.facts.prototypes)
        if config.teacher_prototypes:
            _start_from_prototypes(head, self.teacher)
        return MultiViewEncoder(backbone, head)

    def _make_monitor(self, held_out: ImageSource | None) -> KnnMonitor | None:
        config = self.config
        if not config.monitor_epochs or held_out is None or self.source.labels is None or held_out.labels is None:
            return None
        self.say("Loading images for the k-NN monitor")
        return KnnMonitor(self.source, held_out, config.global_size, config.monitor_bank, config.monitor_queries)

    def _measure(self) -> float | None:
        if self.monitor is None:
            return None
        knn = self.monitor.measure(self.student.backbone, self.device, self._autocast)
        self._append({"step": self.step, "epoch": self.step / self.steps_per_epoch, "knn": round(knn, 3)})
        return knn

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

    def _last(self, key: str) -> float | None:
        values = [row[key] for row in read_metrics(self.metrics) if key in row]
        return float(values[-1]) if values else None

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

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = int(state["step"])
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.bad.restore(state["bad"])
        # Rows after the checkpoint will be written again.
        rows = [row for row in read_metrics(self.metrics) if row["step"] <= self.step]
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        self.say(f"Resuming at step {self.step} of {len(self.lrs)}")

    def _finish(self, knn: float | None, seconds: float, steps: int) -> RunResult:
        config = self.config
        rows = read_metrics(self.metrics)
        knns = [row["knn"] for row in rows if "knn" in row]
        losses = [row["loss"] for row in rows if "loss" in row]
        architecture = student_architecture(config.student, "rob")
        run_folder.save_student(self.folder, self.student.backbone, architecture, config.global_size, self.features)
        save_head(
            self.folder / "head.safetensors",
            self.student.head,
            config.student_head,
            self.features,
            self.teacher.facts.prototypes,
        )
        method = f"RoB-{config.loss.upper()}"
        facts: dict[str, Any] = {
            "method": method + (" on a fitted head (extension)" if self.teacher.facts.extension else ""),
            "student": config.student,
            "architecture": architecture,
            "size": config.global_size,
            "features": self.features,
            "teacher": self.teacher.facts.as_dict(),
            "data": {
                "name": self.source.name,
                "images": len(self.source),
                "fingerprint": self.source.fingerprint(),
                "unreadable": len(self.bad.names),
            },
            "epochs": config.epochs,
            "steps": self.step,
            "batch_size": config.batch_size,
            "precision": "bf16" if self.amp else "fp32",
            "device": device_name(self.device),
            "images_per_s": round(steps * config.batch_size / seconds, 1) if steps else None,
            "result": {
                "loss": losses[-1] if losses else None,
                "knn": knns[-1] if knns else None,
                "knn_init": knns[0] if knns else None,
            },
            "versions": versions(),
        }
        run_folder.write_facts(self.folder, facts)
        draw_curves(rows, self.folder / "curves.png", f"{method}: {config.student} from {config.teacher}")
        result = facts["result"]
        return RunResult(self.folder, float(result["loss"] or "nan"), result["knn"], result["knn_init"], facts)


def pick_device(word: str) -> torch.device:
    """The device a word means; "auto" is the accelerator if there is one.

    Raises:
        LowzooError: No such device here.
    """
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(word)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LowzooError(
            f"device {word!r} cannot be used ({str(error).splitlines()[0]})", "Use --device cpu"
        ) from None
    return device


def default_workers(device: torch.device) -> int:
    """Data workers: every core beside an accelerator, half of them beside a processor that also trains."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if device.type == "cuda" else max(1, cores // 2)


def device_name(device: torch.device) -> str:
    """The device for people: the accelerator's name, or "cpu" with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    import timm

    return {"lowzoo": lowzoo.__version__, "torch": torch.__version__, "timm": timm.__version__, "numpy": np.__version__}


def _start_from_prototypes(head: nn.Module, teacher: Teacher) -> None:
    """Start the student's last layer at the teacher's prototypes, which already span the target space."""
    prototypes = getattr(teacher.head, "prototypes", None)
    if prototypes is None and isinstance(teacher.head, DINOHead):
        prototypes = teacher.head.last_layer.weight_v
    if not isinstance(head, DINOHead) or prototypes is None or prototypes.shape != head.last_layer.weight_v.shape:
        raise LowzooError(
            "teacher_prototypes needs a student head of kind dino with the teacher's bottleneck width",
            "Set student_head.bottleneck to it, or teacher_prototypes=false",
        )
    with torch.no_grad():
        head.last_layer.weight_v.copy_(prototypes)
