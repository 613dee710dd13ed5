"""From the words of `lowzoo eval detect` to a trained detector and its score, in one process or several."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from lowzoo.base.errors import LowzooError
from lowzoo.detection import is_detector
from lowzoo.detection.backbones import backbone_of
from lowzoo.detection.folder import TrainedDetector, load_detector
from lowzoo.detection.network.detector import Backbone
from lowzoo.detection.picture import draw_detections
from lowzoo.detection.predicting import Detected, detect_all, detect_together
from lowzoo.detection.scoring import Score, score, truth_of
from lowzoo.detection.sets.annotated import AnnotatedSet
from lowzoo.detection.sets.opening import TrainTest, held_out, open_sets, open_test
from lowzoo.evaluate.evaluation import Evaluation
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, versions
from lowzoo.io.files import writable_folder, write_text
from lowzoo.system.device import pick_device
from lowzoo.system.machine import device_name
from lowzoo.system.processes import Processes, joined, own_device, working
from lowzoo.train.detection.config import DetectConfig, resolve
from lowzoo.train.detection.loop import DetectorRun
from lowzoo.train.detection.options import DetectOptions
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.distributed.child_processes import needs_script, relayed
from lowzoo.train.monitoring.progress import Progress
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.given import resolved_model

Task = Literal["detect", "segment"]
EVALUATION, PICTURE = "evaluation.json", "detections.png"
_MOST_NAMED = 5
# The options that mean something for a detector that is trained already, and what others are where they are absent.
_MEASURING = ("test_annotations", "images", "image_size", "device", "bf16", "picture", "out", "progress")
_IDLE: Mapping[str, Any] = {"devices": 1}
# Differences of a preset from detectron2 that remain, for whoever compares figures.
REMAINING = (
    "masks are trained as bitmaps cut by RoIAlign, not as polygons cut exactly",
    "images of a step are padded to a size that all of its processes share",
    "a ViT keeps its final norm below the pyramid",
)


def transfer(
    task: Task,
    model: Any,
    data: Any,
    options: DetectOptions,
    say: Callable[[str], None],
    began: float,
    *,
    divide: bool = False,
) -> Evaluation:
    """Train and measure; see `lowzoo.train.detection.functions`."""
    for place in (options.get("out"), options.get("picture")):
        if place is not None:
            writable_folder(Path(place).parent)
    trained = load_detector(model) if is_detector(model) else None
    if trained is not None:
        with working(pick_device(options.get("device", "auto")), divide) as among:
            return _measure(task, trained, data, options, say if among.is_main else _silent, began, among)
    devices, together = options.get("devices", 1), distributed.started_together()
    if together > 1 and not divide and (devices > 1 or not options.get("folder")):
        raise LowzooError(
            f"each of the {together} processes of this program would train a detector of its own, all of them "
            + (f"on the same {devices} devices" if devices > 1 else "in the same folder"),
            "Say divide=True to train one together, or "
            + ("leave devices out" if devices > 1 else "name a folder for each process"),
        )
    folder = Path(options.get("folder") or Path("runs") / f"{task}-{_short(model)}")
    if devices > 1 and together == 1:
        bare: Any = {**options, "progress": None}
        with relayed(say) as (relay, started):
            work = partial(_work_apart, task, model, data, bare, folder, relay, began)
            device = options.get("device", "auto")
            distributed.spawn(devices, work, device, script=needs_script(model, data, bare), started=started)
        text = (folder / EVALUATION).read_text(encoding="utf-8")
        found = Evaluation(EvaluationResult.model_validate(json.loads(text)))
        return dataclasses.replace(found, written=_written(folder, options))
    return _work(task, model, data, options, folder, say, began, divide)


def _work_apart(
    task: Task, model: Any, data: Any, options: DetectOptions, folder: Path, say: Callable[[str], None], began: float
) -> None:
    _work(task, model, data, options, folder, say, began, True)


def _work(
    task: Task,
    model: Any,
    data: Any,
    options: DetectOptions,
    folder: Path,
    say: Callable[[str], None],
    began: float,
    divide: bool,
) -> Evaluation:
    with working(pick_device(options.get("device", "auto")), divide):
        return _joined(task, model, data, options, folder, say, began)


def _joined(
    task: Task, model: Any, data: Any, options: DetectOptions, folder: Path, say: Callable[[str], None], began: float
) -> Evaluation:
    tell = say if distributed.is_main() else _silent
    sets = open_sets(
        data,
        train_annotations=options.get("train_annotations"),
        test_annotations=options.get("test_annotations"),
        images=options.get("images"),
        with_masks=task == "segment",
    )
    _say_what_was_found("Train", sets.train, tell)
    _say_what_was_found("Test", sets.test, tell)
    random_init, seed = options.get("random_init", False), options.get("seed", 0)
    resolved = resolved_model(model, pretrained=not random_init, seed=seed)
    backbone = backbone_of(model, resolved)
    config = resolve(
        options.get("preset"),
        backbone.network,
        sets.train,
        masks=task == "segment",
        options=_named(options),
        settings=options.get("settings") or (),
    )
    facts = ModelFacts.of(resolved)
    identity = {"task": task, "model": facts.name, "weights": facts.weights, "data": sets.train.fingerprint()}
    joined().require_same(
        {
            "training images": f"{len(sets.train)} with digest {identity['data']}",
            "test images": f"{len(sets.test)} with digest {sets.test.fingerprint()}",
            "weights": facts.weights,
            **config.model_dump(mode="json"),
        }
    )
    with ExitStack() as held:
        run = DetectorRun(
            config,
            backbone,
            sets,
            folder,
            identity=identity,
            resume=options.get("resume", False),
            device=options.get("device", "auto"),
            workers=options.get("workers", 0),
            say=tell,
            began=began,
            held=held,
        )
        if run.left_out:
            tell(f"{run.left_out} images without an object are left out of training, as in {config.preset}")
        counts = {name: count for name, count in run.parameters.items() if count}
        parts = ", ".join(f"{name} {count / 1e6:.2f}" for name, count in counts.items())
        tell(f"{run.title}: {sum(counts.values()) / 1e6:.2f} M parameters ({parts})")
        run.train(Progress())
    found, unreadable = run.detect(sets.test)
    trained_bad = run.bad.gather()
    if not distributed.is_main():
        return Evaluation(_result(task, facts, sets, config, run, found, unreadable, 0, began)[0])
    result, scores = _result(task, facts, sets, config, run, found, unreadable, trained_bad, began)
    write_text(folder / EVALUATION, result.to_json())
    title = f"{run.title}, {scores[0].kind} AP {scores[0].figures.get('AP', 0):.1f}"
    for place in dict.fromkeys((folder / PICTURE, Path(options.get("picture") or folder / PICTURE))):
        draw_detections(sets.test, found, place, title)
    if (out := options.get("out")) is not None:
        write_text(Path(out), result.to_json())
    return Evaluation(result, _written(folder, options))


def _measure(
    task: Task,
    trained: TrainedDetector,
    data: Any,
    options: DetectOptions,
    say: Callable[[str], None],
    began: float,
    among: Processes,
) -> Evaluation:
    """The score of a detector that was trained before; the first process draws and writes."""
    if task == "segment" and not trained.detector.masks:
        raise LowzooError(f"{trained.name} is a detector without masks", "Use `lowzoo eval detect`")
    if training := [
        name for name, value in options.items() if name not in _MEASURING and (value or None) != _IDLE.get(name)
    ]:
        raise LowzooError(
            f"{trained.name} is trained already, so {' and '.join(map(_flag, training))} would have no effect",
            "Leave it out, or name a backbone",
        )
    test = open_test(
        data,
        test_annotations=options.get("test_annotations"),
        images=options.get("images"),
        with_masks=task == "segment",
    )
    test, remark = _not_trained_on(test, trained)
    if test.class_names != trained.class_names:
        raise LowzooError(
            f"{trained.name} knows {', '.join(trained.class_names[:5])}, and {test.name} has other classes",
            "Name images with the classes that it was trained on",
        )
    if remark:
        test = dataclasses.replace(test, notes=(*test.notes, remark))
    _say_what_was_found("Test", test, say)
    device = own_device(pick_device(options.get("device", "auto")))
    bf16 = options.get("bf16", False)
    shorter = options.get("image_size") or trained.shorter
    longest = round(trained.longest * shorter / trained.shorter)
    facts = ModelFacts(
        name=trained.name,
        revision=trained.revision,
        recipe="",
        license="",
        trained=True,
        weights=weights_digest(trained.detector)[:16],
    )
    among.require_same(
        {
            "images": f"{len(test)} with digest {test.fingerprint()}",
            "weights": facts.weights,
            "sides": (shorter, longest),
            "precisions": "bf16" if bf16 else "fp32",
        }
    )

    def detected(indices: Sequence[int]) -> Detected:
        return detect_all(
            trained.detector.to(device),
            trained.backbone,
            test,
            indices,
            shorter=shorter,
            longest=longest,
            device=device,
            autocast=partial(torch.autocast, device.type, torch.bfloat16, enabled=bf16),
            wanted=among.is_main,
        )

    found, unreadable = detect_together(among, len(test), detected)
    scores = _scores(task, test, found, unreadable)
    result = EvaluationResult(
        protocol=task,
        preset="",
        model=facts,
        data={"test": _facts_of(test, unreadable.values(), len(unreadable))},
        settings={
            "backbone": trained.backbone.name,
            "shorter": shorter,
            "longest": longest,
            "network": trained.detector.shape.model_dump(mode="json"),
            "precision": "bf16" if bf16 else "fp32",
            "by_class": {each.kind: _rounded(each.by_class) for each in scores},
        },
        figures=_figures(scores, len(test) - len(unreadable)),
        versions=versions("torchvision", "faster-coco-eval"),
        seconds=round(time.monotonic() - began, 1),
    )
    written: list[Path] = []
    if not among.is_main:
        return Evaluation(result)
    if (picture := options.get("picture")) is not None:
        draw_detections(test, found, Path(picture), f"{trained.name}, AP {scores[0].figures.get('AP', 0):.1f}")
        written.append(Path(picture))
    if (out := options.get("out")) is not None:
        write_text(Path(out), result.to_json())
        written.append(Path(out))
    return Evaluation(result, tuple(written))


def _result(
    task: Task,
    facts: ModelFacts,
    sets: TrainTest,
    config: DetectConfig,
    run: DetectorRun,
    found: Sequence[Mapping[str, Any]],
    unreadable: Mapping[int, str],
    bad: int,
    began: float,
) -> tuple[EvaluationResult, list[Score]]:
    scores = _scores(task, sets.test, found, unreadable)
    result = EvaluationResult(
        protocol=task,
        preset=config.preset,
        model=facts,
        data={
            "train": _facts_of(sets.train, run.bad.names, min(bad, len(run.bad.names))),
            "test": _facts_of(sets.test, unreadable.values(), len(unreadable)),
        },
        settings={
            **config.model_dump(mode="json"),
            "steps": run.step,
            "epochs": round(run.step / run.plan.steps_per_epoch, 2),
            "images_trained_on": len(run.train_set),
            "parameters": run.parameters,
            "device": device_name(run.device),
            "processes": run.processes,
            "differs_from_detectron2": list(REMAINING) if config.preset != "own" else [],
            "by_class": {each.kind: _rounded(each.by_class) for each in scores},
        },
        figures=_figures(scores, len(sets.test) - len(unreadable)),
        versions=versions("torchvision", "faster-coco-eval"),
        seconds=round(time.monotonic() - began, 1),
    )
    return result, scores


def _scores(
    task: Task, test: AnnotatedSet, found: Sequence[Mapping[str, Any]], unreadable: Mapping[int, str]
) -> list[Score]:
    """By masks and boxes, or by boxes alone; the protocol's own first."""
    readable = [i for i in range(len(test)) if i not in unreadable]
    truth = truth_of(test, readable)
    return [score(truth, found, kind) for kind in (("mask", "box") if task == "segment" else ("box",))]


def _figures(scores: Sequence[Score], images: int) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            metric=f"{each.kind} {name}", unit="AR" if name.startswith("AR") else "AP", mean=round(value, 4), n=images
        )
        for each in scores
        for name, value in each.figures.items()
    )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}


def _facts_of(data: AnnotatedSet, unreadable: Any, count: int) -> DataFacts:
    return DataFacts(
        name=data.name,
        fingerprint=data.fingerprint(),
        images=len(data) - count,
        skipped=count,
        unreadable=tuple(list(unreadable)[:_MOST_NAMED]),
        orientation="exif",
        notes=(f"{data.objects} objects of {len(data.class_names)} classes", *data.notes),
    )


def _say_what_was_found(part: str, found: AnnotatedSet, say: Callable[[str], None]) -> None:
    crowds = sum(int(image.crowd.sum()) for image in found.images if image.trained_on is None)
    empty = sum(not len(image.objects) for image in found.images)
    line = f"{part}: {len(found)} images of {found.name}, {found.objects} objects of {len(found.class_names)} classes"
    line += f", {crowds} crowds" if crowds else ""
    say(line + (f", {empty} images without an object" if empty else ""))
    for note in found.notes:
        say(f"{part}: {note}")


def _not_trained_on(test: AnnotatedSet, trained: TrainedDetector) -> tuple[AnnotatedSet, str]:
    """All of a set, or what was held out of it if the detector was trained on the rest; and what to say of it."""
    if not trained.trained_on:
        return test, ""
    if test.source.fingerprint() == trained.trained_on:
        return test, f"{trained.name} was trained on these very images, so the figures do not tell of new ones"
    rest = held_out(test, trained.trained_on)
    if rest is None:
        return test, ""
    return rest, f"{trained.name} was trained on four fifths of the {len(test)} images, so only the others count"


def _flag(name: str) -> str:
    """An option as the command line writes it."""
    return "--set" if name == "settings" else f"--{name.replace('_', '-')}"


def _named(options: DetectOptions) -> dict[str, Any]:
    """The options that are settings, as they are called there."""
    keys = ("steps", "minutes", "epochs", "batch_size", "accumulate", "learning_rate", "image_size")
    named = {key: options.get(key) for key in keys}
    named["seed"] = options.get("seed")
    if options.get("bf16"):
        named["precision"] = "bf16"
    if attention := options.get("attention"):
        named["network"] = {"attention": attention}
    return named


def _written(folder: Path, options: DetectOptions) -> tuple[Path, ...]:
    places = [folder, options.get("picture") or folder / PICTURE, options.get("out")]
    return tuple(Path(place) for place in places if place is not None)


def _short(model: Any) -> str:
    """A word for a folder's name."""
    if isinstance(model, (str, Path)):
        return Path(str(model).partition("@")[0].rstrip("/")).name.replace(":", "-") or "model"
    backbone: Backbone | Any = model
    return str(getattr(backbone, "name", type(model).__name__.lower()))


def _silent(_: str) -> None:
    pass
