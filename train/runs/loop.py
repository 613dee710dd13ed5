"""The training loop of every recipe: from a configuration and a source of images to a run folder."""

import math
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from lowzoo.base.errors import LowzooError
from lowzoo.base.printable import printable
from lowzoo.base.progress import in_minutes
from lowzoo.data.source import ImageSource
from lowzoo.io.files import claimed, writable_folder
from lowzoo.system.device import pick_device
from lowzoo.system.machine import default_workers, keep_freed_memory
from lowzoo.system.processes import joined
from lowzoo.system.signals import Stopped, StopRequest, name_of
from lowzoo.train.data import run_data
from lowzoo.train.data.bad_images import BadImageLog, OddImageLog
from lowzoo.train.data.dataset import EpochBatches, SampleCounter, ViewBatch, ViewDataset, check_source, make_loader
from lowzoo.train.distributed import collectives
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.kernels.attention import attend_by_matmuls
from lowzoo.train.kernels.onednn import check_onednn, onednn_matmuls
from lowzoo.train.monitoring.guard import DIVERGED, Guard, all_finite, patience_of
from lowzoo.train.monitoring.metrics import MetricsLog, forget_after
from lowzoo.train.monitoring.monitor import K, NotFinite
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.monitoring.trackers import TrackedRun, Trackers, check_trackers
from lowzoo.train.networks.encoder import create_student, feature_width, told_of_single_images
from lowzoo.train.networks.step import Method, StepContext
from lowzoo.train.networks.tokens import patch_side
from lowzoo.train.networks.warm_start import load_init, write_init
from lowzoo.train.optim.updates import Updates, precision_of
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs import checkpoint
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.runs.accumulation import Placement, StepInputs, with_accumulation
from lowzoo.train.runs.ahead import PendingViews
from lowzoo.train.runs.budget import Budget, shown_run
from lowzoo.train.runs.build import build_method
from lowzoo.train.runs.compatible import CompatibleTerm, same_target
from lowzoo.train.runs.device_decoding import LEFT_TO_THE_CPU
from lowzoo.train.runs.device_views import DeviceViews, check_settings
from lowzoo.train.runs.going_on import go_on
from lowzoo.train.runs.result import RunResult, Worked, conclude
from lowzoo.train.runs.watch import Watch
from lowzoo.train.settings.changes import (
    FREE,
    Change,
    refuse_other_run,
    write_changes,
)
from lowzoo.train.settings.length import Length, read_segments, write_segments
from lowzoo.train.teacher_cache.frozen import FrozenTeacher
from lowzoo.train.teacher_cache.opening import open_cache
from lowzoo.train.teachers import Teacher
from lowzoo.train.teachers.of_run import announce_fit, complete_teacher, create_teacher
from lowzoo.train.teachers.target import Target, load_target
from lowzoo.zoo.digest import weights_digest

_LOG_STEPS = 10
# Epochs of batches where a budget decides how many there will be.
_UNENDING = 10**9


class Run:
    """One run: everything that lives while it trains. With several processes, each makes one.

    What can be wrong is found before the run folder is made; the folder then belongs to this run.

    Args:
        config: Resolved configuration.
        source: Training images.
        held_out: Images for the monitors, with labels where the source has some; None where none can be spared.
        folder: Run folder; made if missing.
        resume: Go on from the folder's checkpoint. The configuration may differ from the run's in what
            `lowzoo.train.settings.changes` allows.
        from_step: Go back to the checkpoint of this step first, and give up what came after; 0 starts again.
        teacher_cache: Folder of a teacher cache, made if missing.
        say: Called with one line of text for the reader.
        began: When the command began, by `time.monotonic`; a budget counts from there. Now if absent.
        held: Keeps a claim on the folder, so that no other command writes there; without it none is made.
        build: Makes the method, as `build_method` does; another one trains something else by this loop.

    Raises:
        LowzooError: Unusable images, teacher, student, device or folder; a folder that holds a run already.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: ImageSource,
        held_out: ImageSource | None,
        folder: Path,
        *,
        resume: bool = False,
        from_step: int | None = None,
        teacher_cache: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
        began: float | None = None,
        held: ExitStack | None = None,
        build: Callable[..., Method] = build_method,
    ) -> None:
        self._began = time.monotonic() if began is None else began
        check_source(source, config.batch_size)
        self.config, self.source, self.folder = config, source, folder
        self.main = distributed.is_main()
        self.device = distributed.own_device(pick_device(config.device))
        check_settings(config, self.device, teacher_cache)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.matmuls: Callable[[], AbstractContextManager[None]] = nullcontext
        if config.onednn:
            check_onednn(self.device)
            self.matmuls = onednn_matmuls
        self.precision, self.autocast = precision_of(config, self.device)
        if not resume and self.main:
            run_folder.refuse_a_run(folder)
        state = None
        if resume:
            refuse_other_run(folder, run_folder.read_config(folder), config)
            load = checkpoint.load_checkpoint
            state = load(folder) if from_step is None else checkpoint.load_step(folder, from_step)
        trackers = check_trackers(config.log, say) if self.main else []
        torch.manual_seed(config.seed)
        backbone = create_student(config)
        if config.onednn or (self.device.type == "cpu" and self.precision == "bf16"):
            attend_by_matmuls(backbone)
        started_from = load_init(backbone, config.init, config.global_size) if config.init and state is None else None
        teacher = create_teacher(config, source)
        processes = collectives.world_size()
        target = load_target(config, feature_width(backbone, config.global_size)) if config.compatible_with else None
        self._require_same(backbone, teacher, target)
        self._teacher_weights = "" if teacher is None else weights_digest(teacher)[:16]
        if state is not None and state.get("teacher", self._teacher_weights) != self._teacher_weights:
            raise LowzooError(
                f"the teacher of {folder} has other weights now than when the run began",
                "Put those of then in their place, or begin a run of its own",
            )
        if not resume:
            scores = teacher.facts.prototypes if teacher is not None else 0
            step = StepInputs(backbone, teacher, target, scores or config.needs.outputs, source, held_out)
            place = Placement(self.device, self.precision, self.autocast, self._workers())
            config = self.config = with_accumulation(config, step, place, say)
        if target is not None and state is not None:
            same_target(target.facts, state["compatible"], folder)
        per_epoch = len(source) // config.batch_size
        begun = int(state["step"]) if state else 0
        self.length = Length.of(config, per_epoch, read_segments(folder) if state else ())
        if from_step is not None:
            self.length = self.length.until(begun)
        self.batches = EpochBatches(
            len(source),
            config.batch_size,
            config.epochs or (math.ceil(self.length.epochs) if config.steps else _UNENDING),
            config.seed,
            begun,
            rank=collectives.rank(),
            world_size=processes,
            accumulate=config.accumulate,
        )
        writable_folder(folder)
        if self.main:
            if held is not None:
                held.enter_context(claimed(folder))
            if not resume:
                run_folder.refuse_a_run(folder)  # another command may have begun one in the meantime
                run_folder.forget_start(folder)
            run_data.remember(folder, source, held_out, resume=resume, say=say)
        distributed.barrier()
        if started_from is not None and self.main:
            write_init(folder, started_from)
            say(f"Student starts from {started_from.name} ({started_from.revision}, weights {started_from.weights})")
        self.teacher: FrozenTeacher | None = None
        if teacher is not None and (taught := config.taught) is not None:
            if self.main:
                announce_fit(teacher, taught, say)
            teacher = complete_teacher(teacher, taught, source, folder, self.device, self.autocast)
            cache = None
            if teacher_cache:
                patches = config.needs.patches
                cache = open_cache(teacher_cache, teacher, taught, source, self.precision, patches=patches)
            if cache is not None and self.main:
                say(f"Teacher cache: {cache}")
            self.teacher = FrozenTeacher(teacher, cache, say)
        elif teacher_cache and target is None:
            raise LowzooError(f"recipe {config.recipe} has no teacher to cache", "Leave out --teacher-cache")
        self.method = build(config, backbone, self.teacher, self.device, processes=processes)
        self.student = self.method.student
        self.compatible: CompatibleTerm | None = None
        if target is not None:
            self.compatible = CompatibleTerm(
                target, config, self.method, source, self.device, self.precision, self.teacher, teacher_cache, say
            )
            say(f"Compatible with {target.facts}: a {config.compatible_map} map into its space is trained along")
        self.changes: list[Change] = []
        if resume:
            self.length, self.changes = go_on(folder, config, self.length, per_epoch, state)
        self.updates = Updates(config, self.student, self.length, self.device, self.precision, self.changes)
        self.device_views = DeviceViews(config, source, self.device, patch_side(backbone), self.teacher)
        self.bad = BadImageLog(folder / self._own("bad_images.txt"), config.max_bad_share)
        self.odd = OddImageLog(folder / self._own("odd_images.txt"))
        self.guard = Guard(self.method.outputs, self.method.sharpness)
        self.step = self.by_cpu = 0
        self._worked, self._say = Worked(), say
        # What an earlier part of a run with a budget planned of its monitor, see `_make_budget`.
        self._planned: dict[str, Any] | None = None
        # Seconds of the earlier parts of the run, with what went before their first steps.
        self._spent = 0.0
        self.budget: Budget | None = None
        if resume:
            self._restore(state)
            say(f"Resuming at step {self.step} of {self._total}")
            for change in self.changes:
                say(f"Changed on the way: {change}")
        self._first = self.step
        self._compile_and_wrap(processes)
        self.watch: Watch | None = None
        # What the others read of the folder, they have read.
        distributed.barrier()
        if self.main:
            if config.monitor_epochs:
                self.watch = Watch(config, source, held_out, self.teacher, self.device, self.autocast, say)
            settings = config.model_dump(mode="json")
            readable = {key: printable(value) if isinstance(value, str) else value for key, value in settings.items()}
            tracked = TrackedRun(folder, readable, self.step)
            tracking = Trackers(trackers, tracked, say)
            # Only what can begin is a run, which a plain command does not touch again.
            run_folder.write_config(folder, config)
            if resume:
                self._settle(state, back=from_step is not None)
            if config.minutes and not self.length.guessed:
                write_segments(folder, self.length)
            self.metrics = MetricsLog(folder / "metrics.jsonl", tracking)

    def _require_same(self, backbone: torch.nn.Module, teacher: Teacher | None, target: Target | None) -> None:
        """Refuse to train together with processes that were given other images, settings or weights."""
        if (among := joined()).count == 1:
            return
        settings = self.config.model_dump(mode="json", exclude=set(FREE))
        weights = {
            "students": weights_digest(backbone)[:16],
            "teachers": "none" if teacher is None else weights_digest(teacher)[:16],  # its head and prototypes included
            "models to be compatible with": "none" if target is None else target.facts.weights[:16],
        }
        among.require_same({**self.source.facts(), **weights, **settings})

    def train(self, bar: Progress) -> RunResult | None:
        """Run to the end, with checkpoints on the way, and write what remains; None in every process but the first.

        Raises:
            Stopped: A signal asked for the end; the checkpoint is that of the step that all processes had reached.
        """
        try:
            with StopRequest().listening() as asked:
                self._train(bar, asked)
        finally:
            if self.main:
                self.metrics.close()
        unreadable, odd = self.bad.gather(), self.odd.gather()
        by_cpu = self.decoded_by_cpu()
        if self.main and by_cpu:
            images = (self.step - self._first) * self.config.batch_size
            self._say(f"The CPU decoded {by_cpu} of {images} images: {LEFT_TO_THE_CPU}")
        if not self.main:
            return None
        return conclude(
            self.folder,
            self.config,
            self.student,
            self.teacher.facts if self.teacher else None,
            self.device,
            steps=self.step,
            epochs=self.step / self.batches.steps_per_epoch,
            precision=self.precision,
            data=run_data.facts_of(self.source, unreadable, odd),
            trained=self.step > self._first,
            worked=self._worked,
            watched=self.watch.counts() if self.watch else {},
            neighbours=self.watch.neighbours if self.watch else K,
            changes=self.changes,
            compatible=self.compatible.facts if self.compatible else None,
        )

    def _train(self, bar: Progress, asked: StopRequest) -> None:
        config, began, before = self.config, time.perf_counter(), self._worked
        if config.minutes and self.step < self.length.total:
            # One number for all processes, as it may end the run.
            spent = collectives.any_of(int(self._spent_until_now()))
            if self.step and spent >= 60 * config.minutes:
                # To load it took what was left.
                self._say(f"{in_minutes(config.minutes)} are spent: the run ends at step {self.step} of {self._total}")
                self._lay(self.length.relaid(self.step, self.step), bar)
            else:
                self.budget = self._make_budget(spent)

        def worked() -> Worked:
            return before.plus((self.step - self._first) * config.batch_size, time.perf_counter() - began)

        clock = StepClock(self.device)
        with (
            shown_run(bar, self.length, self.step, config.batch_size, self.budget) if self.main else nullcontext(),
            closing(self.steps(clock)) as steps,
        ):
            if self.step == 0:
                self._measure(bar)
                clock.pause()
                if self.budget:
                    self.budget.plan_monitors()
                self._leave_if_asked(asked)
            for loss in steps:
                if self.main:
                    bar.step(self.step, loss)
                epoch, rest = divmod(self.step, self.batches.steps_per_epoch)
                if self.step % _LOG_STEPS == 0 or rest == 0:
                    self._log(loss, clock, bar)
                mark = rest == 0 if config.epochs else self._at_a_mark()
                if mark and config.monitor_epochs and (not config.epochs or epoch % config.monitor_epochs == 0):
                    self._measure(bar)
                number = collectives.any_of(asked.number) if self.step < self.length.total else 0
                if number or mark or (config.checkpoint_steps and self.step % config.checkpoint_steps == 0):
                    self._worked = worked()
                    self._save(keep=mark)
                    clock.pause()
                if number:
                    self._leave(number)
                if self.budget and self.step < self.length.total:
                    self._lay(self.budget.after(self.step, self.length), bar)
                    if self.step == self.length.total and not mark:  # there is no room for another
                        self._worked = worked()
                        self._save(keep=True)
            self._worked = worked()
            if config.monitor_epochs and self.main and not self.metrics.measured(self.step):
                self._measure(bar)

    @property
    def _asked_of_monitor(self) -> dict[str, float]:
        return {"times": self.config.monitor_times, "minutes": self.config.minutes}

    def _make_budget(self, spent: int) -> Budget:
        """The budget; its monitor is as an earlier part of the run planned it, unless other words were said since."""
        planned, times = self._planned or {}, self.config.monitor_times
        same = planned.items() >= self._asked_of_monitor.items()
        monitors, measuring = planned["monitors"] if same else times, planned.get("measuring", 0.0)
        budget = Budget(self.config.minutes, spent, self.folder, monitors, measuring, self._say)
        if planned and not same:
            budget.plan_monitors()
        return budget

    def _spent_until_now(self) -> float:
        """Seconds of the run in all its parts, each from the beginning of its command."""
        return self._spent + time.monotonic() - self._began

    def _at_a_mark(self) -> bool:
        """Whether the last step was the first beyond another part of the run, of a few that are alike."""
        parts = self.budget.monitors if self.budget else self.config.monitor_times
        total = self.length.total
        return self.step * parts // total > (self.step - 1) * parts // total

    def _lay(self, length: Length, bar: Progress) -> None:
        """Go on under this layout."""
        if length is not self.length:
            self.length = length
            self.updates.lay(length)
            if self.main:
                bar.lengthen(length.total)

    @property
    def _total(self) -> str:
        return "as many as fit" if self.config.minutes and self.length.guessed else str(self.length.total)

    def _leave_if_asked(self, asked: StopRequest) -> None:
        if number := collectives.any_of(asked.number):
            self._leave(number)

    def _leave(self, number: int) -> None:
        """Part from the others, once the first process has written what there is to write."""
        distributed.barrier()
        at = f"at step {self.step} of {self._total}"
        wrote = f"; its checkpoint is in {self.folder}" if self.step else ""
        raise Stopped(
            number,
            f"{name_of(number)} ended the run {at}{wrote}. Go on by the same command with --resume",
            told=not self.main,
        )

    def steps(self, clock: StepClock) -> Generator[torch.Tensor, None, None]:
        """The steps from here to the end of the run; each is done when its loss is given.

        Args:
            clock: Told where the time goes.
        """
        counter = SampleCounter(self.batches)
        self.method.train()
        batches = clock.iterate(self.device_views.pair(self.loader()))
        while self.step < self.length.total:
            first = next(batches)
            epoch = first[0].epoch
            # Drawn while the step goes on: the views of all parts at once would take what accumulation saves.
            parts = chain([first], islice(batches, self.config.accumulate - 1))
            del first
            with self.matmuls():
                loss = self._one_step(parts, counter, clock)
            self.step += 1
            if self.step % self.batches.steps_per_epoch == 0:
                counter.end_epoch(epoch)
            yield loss

    def loader(self) -> "DataLoader[ViewBatch]":
        """The batches from here to the end of the run."""
        config = self.config
        view_epochs = (config.taught.view_epochs if config.taught else 0) or None
        cached = self._is_cached or (self.compatible is not None and self.compatible.is_cached)
        on_device = config.decode == "device"
        dataset = ViewDataset(self.source, config.views, config.seed, view_epochs, whole=cached, on_device=on_device)
        return make_loader(
            dataset, self.batches, workers=self._workers(), pin=self.device.type == "cuda", say=self._say
        )

    @property
    def _is_cached(self) -> bool:
        return self.teacher is not None and self.teacher.cache is not None

    def _workers(self) -> int:
        return default_workers(self.device) if self.config.workers is None else self.config.workers

    def _one_step(self, parts: Iterable[PendingViews], counter: SampleCounter, clock: StepClock) -> torch.Tensor:
        # Every random choice inside the networks (drop path, dropped patches) depends on the step and the process
        # alone, so that a resumed run makes the same ones without a generator's state in the checkpoint.
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * collectives.world_size() + collectives.rank())
        now = StepContext(self.step, float(self.updates.progress[self.step]), clock, self.autocast)
        self.method.before_step(now)
        total = torch.zeros((), device=self.device)
        # Beside the recipe's own loss, so that this stays what it is without.
        self._distance = torch.zeros((), device=self.device)
        for number, (batch, views_of_batch) in enumerate(parts):
            counter.add(batch.epoch, batch.seen)
            self.odd.add(batch.odd)
            self.bad.add(batch.bad, (self.step + 1) * self.config.batch_size // collectives.world_size())
            if not len(batch):
                raise LowzooError(
                    "no image of a whole batch can be read", f"See {self.bad.file}, mend the data and --resume"
                )
            with clock.part("views"):
                views = views_of_batch()
            self._count_undecoded(batch.by_cpu)
            last = number + 1 == self.config.accumulate
            with nullcontext() if last or not hasattr(self._wrapped, "no_sync") else self._wrapped.no_sync():
                if isinstance(self.config.compile, str):
                    # What CUDA graphs gave in the step before is used up.
                    torch.compiler.cudagraph_mark_step_begin()
                with clock.part("forward"), told_of_single_images():
                    loss = self.method.loss(views, now) / self.config.accumulate
                    total += loss.detach()
                    if self.compatible is not None:
                        distance = self.compatible.loss(self.method, views, now) / self.config.accumulate
                        self._distance += distance.detach()
                        loss = loss + self.compatible.weight * distance
                with clock.part("backward"):
                    self.updates.backward(loss)
        with clock.part("update"):
            self.updates.apply(self.method, now)
            self.method.after_step(now)
        return total

    def decoded_by_cpu(self) -> int:
        """Images that the device was to decode and the CPU did, of all processes; each of them has to ask."""
        return sum(collectives.all_gather_values(self.by_cpu)) if self.config.decode == "device" else 0

    def _count_undecoded(self, by_cpu: int) -> None:
        """Count what the device was to decode and did not."""
        if self.config.decode == "device":
            found = self.device_views.undecoded()
            self.bad.add(found.bad, (self.step + 1) * self.config.batch_size // collectives.world_size())
            self.by_cpu += by_cpu + found.by_cpu

    def _compile_and_wrap(self, processes: int) -> None:
        self._wrapped: Any = None
        if self.config.compile:
            self._say("The first step compiles the student, which may take minutes")
            mode = self.config.compile if isinstance(self.config.compile, str) else None
            self.method.wrap(lambda student: torch.compile(student, dynamic=False, mode=mode))  # type: ignore[arg-type,return-value]
        if processes > 1:
            self._wrapped = self.method.wrap(lambda student: distributed.wrap_ddp(student, self.device))

    def _measure(self, bar: Progress) -> None:
        began = time.monotonic()
        try:
            self._measure_student(bar)
        except NotFinite as error:
            # Of untrained weights, the error says all that there is to say.
            raise LowzooError(f"{error.message} at step {self.step}", DIVERGED if self.step else error.remedy) from None
        if self.budget:
            self.budget.measured(time.monotonic() - began)

    def _measure_student(self, bar: Progress) -> None:
        if self.watch is None:
            return
        figures, features, different = self.watch.measure(self.student.backbone)
        row = {"step": self.step, "epoch": self.step / self.batches.steps_per_epoch, **figures}
        if self.config.guard and self.step:
            row["feature_rank"] = round(self.guard.features(features, self.step, different), 2)
        self.metrics.add(row)
        bar.note(self.step, row)

    def _log(self, loss: torch.Tensor, clock: StepClock, bar: Progress) -> None:
        value = float(collectives.all_reduce_sum(loss.clone()) / collectives.world_size())
        extra, beside = {}, 0.0
        if self.compatible is not None:
            distance = float(collectives.all_reduce_sum(self._distance.clone()) / collectives.world_size())
            extra, beside = {"compatible": distance}, self.compatible.weight * distance
        if self.config.guard:
            # A loss is logged at the end of each epoch, too.
            self.guard.patience = patience_of(self.length.total // min(_LOG_STEPS, self.length.steps_per_epoch))
            self.guard.loss(value, self.step, beside)
        timing = clock.report(self.config.batch_size // self.config.accumulate)
        if not self.main:
            return
        row = {
            "step": self.step,
            "epoch": round(self.step / self.batches.steps_per_epoch, 4),
            "loss": value,
            **extra,
            "lr": float(self.updates.rates[self.step - 1]),
            "weight_decay": float(self.updates.decays[self.step - 1]),
            **timing,
        }
        self.metrics.add(row)
        bar.update(self.step, row)

    def _own(self, name: str) -> str:
        """A file's name for this process."""
        stem, _, suffix = name.partition(".")
        return name if self.main else f"{stem}.{collectives.rank()}.{suffix}"

    def _save(self, *, keep: bool) -> None:
        """Write a checkpoint; of a state that has diverged none, as it would take the place of the last good one."""
        (bad, bad_count), odd = self.bad.of_all(), self.odd.of_all()
        good = all_finite(self.method.state_dict().values()) and self.updates.finite()
        if collectives.any_of(not good):
            raise LowzooError(f"weights or their averages are no finite numbers any more at step {self.step}", DIVERGED)
        if self.main:
            checkpoint.save_checkpoint(
                self.folder,
                {
                    "step": self.step,
                    "method": self.method.state_dict(),
                    "updates": self.updates.state_dict(),
                    "guard": self.guard.state_dict(),
                    "bad": bad,
                    "bad_count": bad_count,
                    "odd": odd,
                    "worked": self._worked.as_dict(),
                    "spent": self._spent_until_now(),
                    "teacher": self._teacher_weights,
                    "cached": self._is_cached,
                    "monitoring": {**self._asked_of_monitor, **self.budget.plan} if self.budget else None,
                    **({"compatible": self.compatible.facts.as_dict()} if self.compatible else {}),
                },
            )
            if keep:
                checkpoint.keep_checkpoint(self.folder, self.step, self.config.keep_checkpoints)

    def _restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint; from the start if the run was ended before it wrote one."""
        if state is not None:
            self.step = int(state["step"])
            self.method.load_state_dict(state["method"])
            self.updates.load_state_dict(state["updates"])
            # Runs from before these were kept have none.
            self.guard.load_state_dict(state.get("guard", {"stuck": 0, "moved": False}))
            self._worked = Worked(**state.get("worked", {}))
            self._spent = float(state.get("spent", self._worked.seconds))
            if state.get("cached", self._is_cached) != self._is_cached:
                now = "comes from a cache" if self._is_cached else "is computed"
                self._say(f"What the teacher says {now} from here on, as it was not before: not to the same bits")
            self._planned = state.get("monitoring")
        self.bad.restore(state["bad"] if state else [], state["bad_count"] if state else 0)
        self.odd.restore(state.get("odd", []) if state else [])

    def _settle(self, state: dict[str, Any] | None, *, back: bool) -> None:
        """Bring the folder to where the run goes on; not before all that can refuse to begin has begun."""
        checkpoint.remove_leftovers(self.folder)
        if back:
            checkpoint.go_back(self.folder, state)
        checkpoint.remove_after(self.folder, self.step)
        write_changes(self.folder, self.changes)
        forget_after(self.folder / "metrics.jsonl", self.step if state is not None else None)
