"""The loop that trains a detector: a run by the habits of all runs, see `lowzoo.train.runs.loop`."""

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import in_minutes
from lowzoo.data.pixels.decode import BadImage
from lowzoo.detection.folder import TrainedDetector, save_detector
from lowzoo.detection.network.detector import Backbone, Detector, parameters_by_part
from lowzoo.detection.predicting import detect_all, detect_together
from lowzoo.detection.sets.annotated import AnnotatedSet
from lowzoo.detection.sets.augment import Augmentation
from lowzoo.detection.sets.batches import Batch, Plan, StepNumbers, Steps, normalised
from lowzoo.detection.sets.opening import TrainTest
from lowzoo.io.files import claimed, writable_folder, write_bytes, write_text
from lowzoo.system.device import pick_device
from lowzoo.system.machine import keep_freed_memory
from lowzoo.system.processes import joined
from lowzoo.system.signals import Stopped, StopRequest, leave_signals_to_the_parent, name_of
from lowzoo.train.data.bad_images import BadImageLog
from lowzoo.train.detection.config import DetectConfig
from lowzoo.train.detection.curves import draw_losses
from lowzoo.train.detection.optimizer import optimizer_of
from lowzoo.train.distributed import collectives
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.distributed.sync_batch_norm import synchronise_batch_norms
from lowzoo.train.monitoring.guard import all_finite
from lowzoo.train.monitoring.metrics import MetricsLog, forget_after, read_metrics
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.monitoring.trackers import TrackedRun, Trackers
from lowzoo.train.runs import checkpoint
from lowzoo.train.runs.budget import Budget, shown_run
from lowzoo.train.settings.length import Length, Segment, read_segments

SETTINGS, METRICS, PICTURES = "settings.json", "metrics.jsonl", "pictures"
_PICTURES_KEPT = 8
_LOG_STEPS = 10
# The first guess of a budget of minutes, before any step was timed.
_FIRST_GUESS = 1000
# Images whose detections are timed, so that a budget leaves room for the score.
_TIMED = 4
_DIVERGED = "Start again in another folder with a lower --learning-rate, or with --set clip=1"


class DetectorRun:
    """One run: everything that lives while it trains. With several processes, each makes one.

    Args:
        config: Its settings.
        backbone: What the detector stands on; it is taken over.
        sets: Images to train and to test on.
        folder: Run folder; made if missing.
        identity: What else decides the run: model, data.
        resume: Go on from the folder's checkpoint.
        device: cpu, cuda, ... or auto.
        workers: Processes that read images.
        say: Called with one line of text for the reader.
        began: When the command began, by `time.monotonic`.
        held: Keeps a claim on the folder, so that no other command writes there; without it none is made.

    Raises:
        LowzooError: A folder that holds another run, a batch that cannot be divided, a backbone that does not fit.
    """

    def __init__(
        self,
        config: DetectConfig,
        backbone: Backbone,
        sets: TrainTest,
        folder: Path,
        *,
        identity: dict[str, Any],
        resume: bool = False,
        device: str = "auto",
        workers: int = 0,
        say: Callable[[str], None] = lambda _: None,
        began: float | None = None,
        held: contextlib.ExitStack | None = None,
    ) -> None:
        self._began = time.monotonic() if began is None else began
        self.config, self.backbone, self.folder, self._say = config, backbone, folder, say
        self.main, self.processes = distributed.is_main(), collectives.world_size()
        self.device = distributed.own_device(pick_device(device))
        if config.batch_size % (config.accumulate * self.processes):
            raise LowzooError(
                f"a batch of {config.batch_size} images does not divide into {config.accumulate} parts in "
                f"{self.processes} processes",
                "Name another --batch-size",
            )
        if self.device.type == "cpu":
            keep_freed_memory()
        dtype = torch.bfloat16
        self.autocast = partial(torch.autocast, self.device.type, dtype, enabled=config.precision == "bf16")
        self.train_set = sets.train if config.empty_images else sets.train.with_objects()
        self.left_out = len(sets.train) - len(self.train_set)
        self.test_set = sets.test
        self._images = sets.train.source.fingerprint()
        writable_folder(folder)
        if held is not None and distributed.is_main():
            held.enter_context(claimed(folder))
        own_facts = json.loads(json.dumps({"settings": config.model_dump(mode="json"), **identity}))
        state = self._begin(own_facts, resume=resume)
        torch.manual_seed(config.seed)
        self.detector = Detector(
            backbone, config.network, len(sets.train.class_names), masks=config.masks, mean=_mean_of_processes
        )
        self.parameters = parameters_by_part(self.detector)
        self.detector.to(self.device)
        if config.sync_bn and self.processes > 1:
            synchronise_batch_norms(self.detector, self.device)
        self.optimizer = optimizer_of(config, self.detector)
        sizes = np.array([(each.height, each.width) for each in self.train_set.images], np.int64)
        self.plan = Plan(
            sizes,
            config.batch_size,
            config.seed,
            config.train_sizes,
            config.longest,
            Augmentation(config.flip, config.scale_jitter, config.color_jitter),
            config.network.divisor,
        )
        self.length = self._first_length(state)
        self._lay(self.length)
        # The names of images that this process could not read.
        own = "bad_images.txt" if self.main else f"bad_images.{collectives.rank()}.txt"
        self.bad = BadImageLog(folder / own, config.max_bad_share)
        self.step, self._seconds, self.workers = 0, 0.0, workers
        if state is not None:
            self.step, self._seconds = int(state["step"]), float(state["seconds"])
            self.detector.load_state_dict(state["detector"])
            self.optimizer.load_state_dict(state["optimizer"])
            say(f"Resuming at step {self.step} of {self.length.total}")
        self.bad.restore(state["bad"] if state else [], state["bad_count"] if state else 0)
        self._wrapped: Any = self.detector
        if self.processes > 1:
            self._wrapped = distributed.wrap_ddp(self.detector, self.device)
        distributed.barrier()
        if self.main:
            # Not before everything fits together: a start that is refused leaves no run behind.
            write_text(folder / SETTINGS, json.dumps(own_facts, indent=2) + "\n")
            checkpoint.remove_leftovers(folder)
            forget_after(folder / METRICS, self.step if state is not None else None)
            self.metrics = MetricsLog(folder / METRICS, Trackers([], TrackedRun(folder, {}, self.step), say))

    def train(self, bar: Progress) -> None:
        """Run to the end, with checkpoints on the way.

        Raises:
            Stopped: A signal asked for the end; the checkpoint is that of the step that all processes had reached.
        """
        began, before = time.monotonic(), self._seconds
        budget = self._budget()
        clock = StepClock(self.device)
        shown = shown_run(bar, self.length, self.step, self.config.batch_size, budget) if self.main else nullcontext()
        with StopRequest().listening() as asked, shown, closing(self._steps(clock)) as steps:
            for losses in steps:
                total = torch.stack(list(losses.values())).sum()
                if self.main:
                    bar.step(self.step, total)
                if self.step % _LOG_STEPS == 0 or self.step == self.length.total:
                    self._log(losses, clock, bar)
                ended = self.step >= self.length.total
                number = 0 if ended else collectives.any_of(asked.number)
                if number or ended or self.step % self.config.checkpoint_steps == 0:
                    self._seconds = before + time.monotonic() - began
                    self._save()
                    clock.pause()
                if number:
                    self._leave(number)
                if budget is not None and not ended:
                    self._relay(budget.after(self.step, self.length), bar)
                    if self.step >= self.length.total:  # there is no room for another
                        self._seconds = before + time.monotonic() - began
                        self._save()
        if self.config.precise_bn and self.step >= self.length.total:
            self._measure_batch_norms()
        if self.main:
            self.metrics.close()
            save_detector(self.folder, self.trained())
            _keep_pictures(self.test_set, self.folder / PICTURES)
            draw_losses(read_metrics(self.folder / METRICS), self.folder / "curves.png", self.title)
        distributed.barrier()

    @property
    def title(self) -> str:
        """What the run trains, for pictures."""
        return f"{'Mask' if self.config.masks else 'Faster'} R-CNN on {self.backbone.name} ({self.config.preset})"

    def trained(self) -> TrainedDetector:
        """The detector as it is now."""
        return TrainedDetector(
            self.detector,
            self.folder.resolve().name,
            "",
            self.backbone,
            self.train_set.class_names,
            self.train_set.category_ids,
            self.config.test_size,
            self.config.longest,
            self._images,
        )

    def detect(self, data: AnnotatedSet) -> tuple[list[dict[str, Any]], dict[int, str]]:
        """Detections in all images of a set, each process its share; those of all in each of them."""
        return detect_together(joined(), len(data), lambda indices: self._detect(data, indices))

    def _detect(self, data: AnnotatedSet, indices: Sequence[int], *, wanted: bool = True) -> Any:
        return detect_all(
            self.detector,
            self.backbone,
            data,
            indices,
            shorter=self.config.test_size,
            longest=self.config.longest,
            device=self.device,
            autocast=self.autocast,
            wanted=wanted and self.main,
        )

    def _begin(self, own: dict[str, Any], *, resume: bool) -> dict[str, Any] | None:
        """See that the folder is free, or this run's; gives the checkpoint to go on from.

        Args:
            own: What decides the run, as its folder keeps it.
            resume: Whether it goes on.
        """
        file = self.folder / SETTINGS
        if not resume:
            # A run that ended before its first checkpoint left nothing that another one could lose.
            if self.main and file.exists() and checkpoint.is_there(self.folder):
                raise LowzooError(
                    f"{self.folder} already holds a run", "Add --resume to go on with it, or name another --folder"
                )
            distributed.barrier()
            return None
        if not file.is_file():
            raise LowzooError(f"{self.folder} holds no run to resume", "Leave out --resume, or name its --folder")
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise LowzooError(f"{file} is damaged ({error})", "Start the run again in another folder") from None
        if changed := list(_differences(before, own)):
            raise LowzooError(
                f"the run in {self.folder} is another one: {'; '.join(changed[:3])}",
                "Resume by the same command, or name another --folder",
            )
        return checkpoint.load_checkpoint(self.folder)

    def _first_length(self, state: dict[str, Any] | None) -> Length:
        per_epoch = self.plan.steps_per_epoch
        if self.config.minutes:
            segments = read_segments(self.folder) if state is not None else ()
            return Length(per_epoch, segments or (Segment(0, 0.0, _FIRST_GUESS),))
        return Length.known(self.config.steps or self.config.epochs * per_epoch, per_epoch)

    def _lay(self, length: Length) -> None:
        self.length = length
        self.rates = self.config.rates(length.progress())

    def _relay(self, length: Length, bar: Progress) -> None:
        if length is not self.length:
            self._lay(length)
            if self.main:
                bar.lengthen(length.total)

    def _budget(self) -> Budget | None:
        if not self.config.minutes or self.step >= self.length.total:
            return None
        spent = collectives.any_of(int(self._seconds + time.monotonic() - self._began))
        if self.step and spent >= 60 * self.config.minutes:
            # To load it took what was left.
            self._say(f"{in_minutes(self.config.minutes)} are spent: the run ends at step {self.step}")
            self._lay(self.length.relaid(self.step, self.step))
            return None
        budget = Budget(self.config.minutes, spent, self.folder, 1, say=self._say)
        # The score at the end needs its part of the time; a detector that knows nothing takes longest.
        since = time.monotonic()
        tried = range(min(_TIMED, len(self.test_set)))
        self._detect(self.test_set, tried, wanted=False)
        each = (time.monotonic() - since) / len(tried)
        budget.measured(each * len(self.test_set) / self.processes)
        return budget

    def _steps(self, clock: StepClock) -> Generator[dict[str, Tensor], None, None]:
        """The steps from here to the end of the run; each is done when its losses are given."""
        parts = self.config.accumulate
        data = Steps(
            self.train_set,
            self.plan,
            with_masks=self.config.masks,
            parts=parts,
            rank=collectives.rank(),
            processes=self.processes,
        )
        told: Dataset[Any] = _Told(data) if self.workers else data
        loader = DataLoader(
            told,
            batch_size=None,
            sampler=StepNumbers(self.step),
            num_workers=self.workers,
            worker_init_fn=_worker if self.workers else None,
            prefetch_factor=2 if self.workers else None,
        )
        batches = clock.iterate(loader)
        while self.step < self.length.total:
            batch = next(batches)
            if isinstance(batch, _Refusal):
                raise LowzooError(batch.message, batch.remedy)
            yield self._one_step(batch, clock)

    def _one_step(self, parts: Sequence[Batch], clock: StepClock) -> dict[str, Tensor]:
        # Every random choice inside the network depends on the step and the process alone.
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * self.processes + collectives.rank())
        self.detector.train()
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rates[self.step])
        total: dict[str, Tensor] = {}
        for number, batch in enumerate(parts):
            last = number + 1 == len(parts)
            with nullcontext() if last or self.processes == 1 else self._wrapped.no_sync():
                with clock.part("forward"):
                    losses = self._losses(batch)
                with clock.part("backward"):
                    torch.stack(list(losses.values())).sum().div(len(parts)).backward()
            for name, value in losses.items():
                total[name] = total.get(name, torch.zeros_like(value)) + value.detach() / len(parts)
            self.bad.add(batch.bad, (self.step + 1) * self.config.batch_size // self.processes)
        with clock.part("update"):
            if self.config.clip:
                nn.utils.clip_grad_norm_(self.detector.parameters(), self.config.clip)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return total

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        images = normalised(batch.pixels.to(self.device), batch.sizes, self.backbone.mean, self.backbone.std)
        targets = [{name: value.to(self.device) for name, value in each.items()} for each in batch.targets]
        with self.autocast():
            losses: dict[str, Tensor] = self._wrapped(images, batch.sizes, targets, batch.keys)
        return losses

    def _log(self, losses: dict[str, Tensor], clock: StepClock, bar: Progress) -> None:
        values = collectives.all_reduce_sum(torch.stack(list(losses.values()))) / self.processes
        named = dict(zip(losses, values.tolist(), strict=True))
        total = float(values.sum())
        if not np.isfinite(total):
            raise LowzooError(f"the loss became {total} at step {self.step}", _DIVERGED)
        timing = clock.report(self.config.batch_size)
        if self.main:
            epoch = round(self.step / self.plan.steps_per_epoch, 4)
            row = {"step": self.step, "epoch": epoch, "loss": total, **named, "lr": float(self.rates[self.step - 1])}
            row |= timing
            self.metrics.add(row)
            bar.update(self.step, row)

    def _save(self) -> None:
        bad, bad_count = self.bad.of_all()
        if collectives.any_of(not all_finite(self.detector.state_dict().values())):
            raise LowzooError(f"weights are no finite numbers any more at step {self.step}", _DIVERGED)
        if self.main:
            state = {
                "step": self.step,
                "seconds": self._seconds,
                "detector": self.detector.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "bad": bad,
                "bad_count": bad_count,
            }
            checkpoint.save_checkpoint(self.folder, state)

    def _leave(self, number: int) -> None:
        distributed.barrier()
        raise Stopped(
            number,
            f"{name_of(number)} ended the run at step {self.step} of {self.length.total}; its checkpoint is in "
            f"{self.folder}. Go on by the same command with --resume",
            told=not self.main,
        )

    @torch.no_grad()
    def _measure_batch_norms(self) -> None:
        """Measure mean and variance of every batch norm again, as the mean over some steps with the final weights."""
        norms = [each for each in self.detector.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        self.detector.train()
        data = Steps(
            self.train_set,
            self.plan,
            with_masks=self.config.masks,
            parts=self.config.accumulate,
            rank=collectives.rank(),
            processes=self.processes,
        )
        for step in range(self.step, self.step + self.config.precise_bn):
            for batch in data[step]:
                self._losses(batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _keep_pictures(data: AnnotatedSet, place: Path) -> None:
    """Keep a few of the images that are tested on: an export is compared with PyTorch on them."""
    number = 0
    for index, each in enumerate(data.images):
        if not len(each.labels) or number == _PICTURES_KEPT:
            continue
        with contextlib.suppress(BadImage):
            data.source.pixels(index)  # one that cannot be read is of no use to whoever compares
            write_bytes(
                place / f"{number}{Path(data.source.where(index)).suffix or '.img'}", data.source.encoded(index)
            )
            number += 1


@dataclass(frozen=True)
class _Refusal:
    """A `LowzooError` of a process that reads images, for this one to raise."""

    message: str
    remedy: str


class _Told(Dataset[list[Batch] | _Refusal]):
    """Steps whose errors come as values: torch would write a raised one's traceback into its message."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> list[Batch] | _Refusal:
        try:
            return self.steps[step]
        except LowzooError as error:
            return _Refusal(error.message, error.remedy)


def _worker(_: int) -> None:
    torch.set_num_threads(1)
    leave_signals_to_the_parent()


def _mean_of_processes(x: Tensor) -> Tensor:
    return collectives.all_reduce_sum(x) / collectives.world_size()


def _differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif before != now:
        yield f"{where.removeprefix('settings.')} was {before!r}, not {now!r}"
