"""Training from Python: one function a recipe, of which the commands are made, and `run` for a recipe by its name."""

import functools
import inspect
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from lowzoo.base.errors import LowzooError
from lowzoo.base.options import PYTHON_ONLY, Option, Progress, Reading
from lowzoo.base.spelled import spelled_out

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource
    from lowzoo.train.runs.outcome import TrainResult

_SHARED = (
    "epochs",
    "steps",
    "minutes",
    "batch_size",
    "precision",
    "device",
    "seed",
    "compatible_with",
)
Source = Annotated["str | Path | Sequence[Any] | ImageSource | None", Option(metavar="SRC")]
Init = Annotated[str | Path | None, Option(metavar="MODEL", early="lowzoo.checkpoints.early:refuse_early")]
Teacher = Annotated[str | Path | None, Option(early="lowzoo.checkpoints.early:refuse_early_checkpoint")]
Compatible = Annotated[
    str | Path | None, Option(metavar="MODEL", early="lowzoo.checkpoints.early:refuse_early_checkpoint")
]
Folder = Annotated[str | Path | None, Option(metavar="DIR")]
Settings = Annotated[Mapping[str, Any] | Sequence[str] | None, Option("--set", metavar="KEY=VALUE")]


class RunOptions(Reading, total=False):
    """The options that all recipes share.

    Args:
        epochs: Passes over the data.
        steps: Length of the run in steps, instead of epochs.
        minutes: Length of the run by the clock, loading and monitors included: its schedule is laid over the steps that
            fit. The default where neither a length nor a preset is named, by the number of images.
        batch_size: Images in a step, over all devices.
        devices: Processes on this machine, one a device; or start with torchrun.
        precision: Precision of the networks; auto is bf16 on a GPU.
        device: cpu, cuda, cuda:1, ... or auto.
        seed: Random seed.
        compatible_with: MODEL or teacher whose index the student is to keep: a map from its features into that model's
            embedding space is trained along, by the cosine distance to that model's embedding of the same view
            (weight 1; --set compatible_weight=...), and lies in the run folder.
        out: Run folder; runs/RECIPE-STUDENT if absent.
        resume: Go on with the run in the run folder. Learning rate, precision, temperatures and weights of losses may
            change on the way (--set lr=...), and so may --epochs: the schedule is then that of the new length, entered
            over a tenth of the steps that are left.
        from_step: Go on from an earlier checkpoint and give up what came after; 0 starts the run again. Implies
            --resume; keep_checkpoints (4) are kept, one an epoch and then evenly spread.
        log: Tracker that gets the run's numbers; may be repeated, tensorboard if absent, none for none at all. Under
            torchrun, which takes --log for its own, write --set log=NAME. Trackers.
        bench: Time some steps, say what bounds them, and leave without training. In Python the report is in `facts`.
        compare: With --bench, time the same run with these settings too, such as "channels_last=false" or
            "compile=true ahead=true"; may be repeated.
        preset: A preset of the recipe; without one settings follow from images, device and budget.
        config: TOML file with any of the settings.
        settings: Any setting, e.g. student_head.hidden=512. In Python also a mapping, e.g.
            `{"student_head.hidden": 512}`.
        verbose: Print what is said, and show a bar.
        progress: Takes each line that is said, such as `print`; None is silent.
    """

    epochs: int | None
    steps: Annotated[int | None, Option(minimum=1)]
    minutes: float | None
    batch_size: int | None
    devices: Annotated[int, Option(minimum=1, default=1)]
    precision: Literal["auto", "fp32", "bf16", "fp16"] | None
    device: str | None
    seed: int | None
    compatible_with: Compatible
    out: Annotated[str | Path | None, Option(metavar="PATH")]
    resume: Annotated[bool, Option("--resume", default=False)]
    from_step: Annotated[int | None, Option("--from", metavar="STEP", minimum=0)]
    log: Annotated[Sequence[str] | None, Option(metavar="NAME", names_from="lowzoo.train.monitoring.trackers:TRACKERS")]
    bench: Annotated[bool, Option("--bench", default=False)]
    compare: Annotated[Sequence[str] | None, Option(metavar='"KEY=VALUE ..."')]
    preset: Annotated[str | None, Option(metavar="NAME")]
    config: Annotated[str | Path | None, Option(metavar="FILE")]
    settings: Settings
    verbose: Annotated[bool, PYTHON_ONLY]
    progress: Progress


@spelled_out(RunOptions, Reading)
def rob(
    data: Source = None,
    *,
    student: str | None = None,
    init: Init = None,
    teacher: Teacher = None,
    teacher_head: Literal["own", "fitted"] | None = None,
    teacher_cache: Folder = None,
    loss: Literal["dino", "swav", "ibot", "msn", "kd"] | None = None,
    views: Literal["sslight"] | None = None,
    **options: Unpack[RunOptions],
) -> "TrainResult":
    """Fit a small student to a frozen teacher's prototype distribution (RoB, arXiv 2301.09451).

    With no option at all it trains on the embedded sample set for three minutes. Settings follow from images, device
    and budget (--minutes, --steps or --epochs) where no preset is named. The paper's settings of each loss are the
    presets rob_dino, rob_swav, rob_swav_bridge, rob_ibot and rob_msn; a later source wins: preset, --config, options,
    --set.

    Args:
        data: Folder of images, parquet, tar shards or hf:ORG/NAME; the embedded sample set if absent. In Python also a
            list of PIL images, arrays or tensors, or an `ImageSource`.
        student: Student: vit_tiny, resnet18, ... or any timm name.
        init: Start the student from these weights: zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder,
            timm name, or ARCH@FILE for a checkpoint. Without --student it is the student's architecture too.
        teacher: Teacher: a name of `lowzoo teachers`, a run folder, timm name, or ARCH@FILE[#BRANCH] (a checkpoint).
        teacher_head: 'own', or 'fitted' for a teacher without one (an extension of the papers).
        teacher_cache: Keep what the teacher said of each view, for this run and others.
        loss: Member of the family; kd is supervised distillation.
        views: sslight: the softer views and pair weights of that recipe, over a preset's or those that are chosen.
        **options: See `RunOptions`.

    Returns:
        What the run left and measured; its weights by `.model()`.

    Raises:
        LowzooError: Whatever can be mended: images, teacher, student, device, folder or settings.
    """
    own = {"student": student, "init": init, "teacher": teacher, "teacher_head": teacher_head, "loss": loss}
    return _train("rob", data, own, {"loss": loss, "views": views}, teacher_cache, options)


@spelled_out(RunOptions, Reading)
def seed(
    data: Source = None,
    *,
    student: str | None = None,
    init: Init = None,
    teacher: Teacher = None,
    teacher_head: Literal["own", "fitted"] | None = None,
    teacher_cache: Folder = None,
    **options: Unpack[RunOptions],
) -> "TrainResult":
    """Let a small student reproduce a frozen teacher's similarities to past images (SEED, arXiv 2101.04731).

    With no option at all it trains on the embedded sample set for three minutes. Settings follow from images, device
    and budget where no preset is named; --preset seed is the paper's. Local views in the settings turn on the
    small-patch extension (preset seed_small_patch). A later source wins: preset, --config, options, --set.

    Args:
        data: Folder of images, parquet, tar shards or hf:ORG/NAME; the embedded sample set if absent. In Python also a
            list of PIL images, arrays or tensors, or an `ImageSource`.
        student: Student: vit_tiny, resnet18, ... or any timm name.
        init: Start the student from these weights: zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder,
            timm name, or ARCH@FILE for a checkpoint. Without --student it is the student's architecture too.
        teacher: Teacher: a name of `lowzoo teachers`, a run folder, timm name, or ARCH@FILE[#BRANCH] (a checkpoint).
        teacher_head: 'own', or 'fitted' for a teacher without one (an extension of the papers).
        teacher_cache: Keep what the teacher said of each view, for this run and others.
        **options: See `RunOptions`.

    Returns:
        What the run left and measured; its weights by `.model()`.

    Raises:
        LowzooError: Whatever can be mended: images, teacher, student, device, folder or settings.
    """
    own = {"student": student, "init": init, "teacher": teacher, "teacher_head": teacher_head}
    return _train("seed", data, own, {}, teacher_cache, options)


@spelled_out(RunOptions, Reading)
def sslight(
    data: Source = None,
    *,
    student: str | None = None,
    init: Init = None,
    method: Literal["dino", "swav", "moco"] | None = None,
    teacher_cache: Folder = None,
    **options: Unpack[RunOptions],
) -> "TrainResult":
    """Train a small network without any teacher, by softer views (SSLight, arXiv 2210.02808).

    The two presets, sslight and baseline, differ in four settings: scales of global and local views, size of local
    views, weights of the pairs. With no option at all it trains on the embedded sample set for three minutes, by
    MoCo-v2 with softer views; settings follow from images, device and budget where no preset is named. A later source
    wins: preset, --config, options, --set.

    Args:
        data: Folder of images, parquet, tar shards or hf:ORG/NAME; the embedded sample set if absent. In Python also a
            list of PIL images, arrays or tensors, or an `ImageSource`.
        student: Student: vit_tiny, resnet18, ... or any timm name.
        init: Start the student from these weights: zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder,
            timm name, or ARCH@FILE for a checkpoint. Without --student it is the student's architecture too.
        method: Objective that the views soften; moco if absent, and dino in the paper's presets.
        teacher_cache: Keep what the model of --compatible-with said of each view, for this run and others.
        **options: See `RunOptions`.

    Returns:
        What the run left and measured; its weights by `.model()`.

    Raises:
        LowzooError: Whatever can be mended: images, student, device, folder or settings.
    """
    own = {"student": student, "init": init, "method": method}
    return _train("sslight", data, own, {"method": method, "student": student}, teacher_cache, options)


@spelled_out(RunOptions, Reading)
def run(
    recipe: str,
    data: Source = None,
    *,
    student: str | None = None,
    init: Init = None,
    teacher: Teacher = None,
    teacher_head: Literal["own", "fitted"] | None = None,
    teacher_cache: Folder = None,
    **options: Unpack[RunOptions],
) -> "TrainResult":
    """Train by any recipe, those of other packages included.

    Settings follow from images, device and budget where no preset is named. A later source wins: preset, --config,
    options, --set.

    Args:
        recipe: Name of the recipe, see `lowzoo.train.RECIPES`.
        data: Folder of images, parquet, tar shards or hf:ORG/NAME; the embedded sample set if absent. In Python also a
            list of PIL images, arrays or tensors, or an `ImageSource`.
        student: Student: vit_tiny, resnet18, ... or any timm name.
        init: Start the student from these weights: zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder,
            timm name, or ARCH@FILE for a checkpoint. Without --student it is the student's architecture too.
        teacher: Teacher: a name of `lowzoo teachers`, a run folder, timm name, or ARCH@FILE[#BRANCH] (a checkpoint).
        teacher_head: 'own', or 'fitted' for a teacher without one (an extension of the papers).
        teacher_cache: Keep what the teacher said of each view, for this run and others.
        **options: See `RunOptions`.

    Returns:
        What the run left and measured; its weights by `.model()`.

    Raises:
        LowzooError: Whatever can be mended: images, teacher, student, device, folder or settings.
    """
    own = {"student": student, "init": init, "teacher": teacher, "teacher_head": teacher_head}
    return _train(recipe, data, own, {"student": student}, teacher_cache, options)


def function_of(recipe: str) -> Callable[..., "TrainResult"]:
    """The documented function of a recipe: its own, or `run` for it.

    Raises:
        LowzooError: No such recipe, or a plug-in that cannot be used.
    """
    from lowzoo.train.recipes import RECIPES

    declared = RECIPES[recipe]
    own: Callable[..., TrainResult] | None = declared.python_function()
    if own is not None:
        return own

    @functools.wraps(run)
    def of_recipe(data: Any = None, **words: Any) -> "TrainResult":
        return run(recipe, data, **words)

    absent = {"recipe"} | (set() if declared.needs.teacher else {"teacher", "teacher_head", "teacher_cache"})
    signature = inspect.signature(run)
    kept = [each for name, each in signature.parameters.items() if name not in absent]
    of_recipe.__dict__["__signature__"] = signature.replace(parameters=kept)
    _, _, rest = (run.__doc__ or "").partition("\n")
    of_recipe.__doc__ = f"{declared.summary}\n{rest}"
    of_recipe.__name__ = of_recipe.__qualname__ = recipe
    return of_recipe


def _train(
    recipe: str,
    data: Any,
    own: Mapping[str, Any],
    choice: Mapping[str, str | None],
    teacher_cache: str | Path | None,
    options: RunOptions,
) -> "TrainResult":
    """Train, or time some steps.

    Args:
        recipe: Name of the recipe.
        data: Source of images, None for the embedded sample set.
        own: Fields of the configuration that are the recipe's own options, None where absent.
        choice: What picks among the recipe's presets.
        teacher_cache: Folder of a teacher cache.
        options: Those that all recipes share.
    """
    began = time.monotonic()  # before the heavy imports, which a budget of minutes includes
    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.train.command import TrainArgs, default_layers, run_training
    from lowzoo.train.distributed.child_processes import refuse_rerun
    from lowzoo.train.runs.outcome import TrainResult
    from lowzoo.train.settings.config import setting_words
    from lowzoo.zoo.given import word_of

    refuse_rerun()
    _check(data, options)
    reading: Any = {key: options[key] for key in Reading.__annotations__ if key in options}  # type: ignore[literal-required]
    fields = {**own, **{key: options.get(key) for key in _SHARED}, "log": _names(options.get("log"))}
    preset, from_step = options.get("preset"), options.get("from_step")
    words = TrainArgs(
        recipe,
        default_layers(recipe, data=data, preset=preset, **choice),
        data=data,
        reading=source_options(reading),
        config=_path(options.get("config")),
        options={key: word_of(value) if isinstance(value, Path) else value for key, value in fields.items()},
        settings=setting_words(options.get("settings") or ()),
        out=_path(options.get("out")),
        resume=options.get("resume", False) or from_step is not None,
        from_step=from_step,
        views=choice.get("views"),
        preset_named=preset is not None,
        teacher_cache=_path(teacher_cache),
        devices=options.get("devices", 1),
    )
    progress = options.get("progress")
    with told(_Printed() if progress is None and options.get("verbose") else progress) as say:
        if options.get("bench"):
            from lowzoo.train.bench import run_bench

            report = run_bench(words, say, _words(options.get("compare")))
            minutes = (time.monotonic() - began) / 60
            return TrainResult(words.out or Path("runs"), recipe, report, minutes=minutes, timed=True)
        folder, facts = run_training(words, say, began)
    return TrainResult(folder, recipe, facts, minutes=(time.monotonic() - began) / 60)


def _words(given: Sequence[str] | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def _check(data: Any, options: RunOptions) -> None:
    """Refuse what a command cannot be given, and what would otherwise be taken for something else.

    Raises:
        LowzooError: It was given.
    """
    if not (data is None or isinstance(data, str | Path) or _is_sized(data)):
        raise LowzooError(
            f"a {type(data).__name__} is no source of images",
            "Give a folder, a list of PIL images, arrays or tensors, or an ImageSource",
        )
    if options.get("compare") and not options.get("bench"):
        raise LowzooError("--compare is for --bench", "Add --bench, or give the settings with --set")
    for name, least in (("devices", 1), ("from_step", 0)):
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise LowzooError(f"{name} = {value!r} is impossible", f"Give a whole number, {least} or more")
    for name in ("epochs", "steps", "minutes", "batch_size", "seed"):
        if isinstance(value := options.get(name), bool):
            raise LowzooError(f"{name} = {value!r} is no number", "Give a number")
    log = options.get("log")
    several = isinstance(log, list | tuple) and all(isinstance(one, str) for one in log)
    if not (log is None or isinstance(log, str) or several):
        raise LowzooError(f"log = {log!r} is impossible", "Give a name, or several in a list")


def _is_sized(data: Any) -> bool:
    """Whether it has a length; arrays of no dimension have the method and no length."""
    try:
        len(data)
    except TypeError:
        return False
    return True


class _Printed:
    """Prints lines, and lets what takes time show a bar."""

    bars = True

    def __call__(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)


def _names(names: Sequence[str] | str | None) -> list[str] | None:
    return None if names is None else [names] if isinstance(names, str) else list(names)


def _path(path: str | Path | None) -> Path | None:
    if not (path is None or isinstance(path, str | os.PathLike)):
        raise LowzooError(f"a path is {path!r}, which is none", "Give a string or a pathlib.Path")
    if path is not None and not str(path).strip():
        raise LowzooError("a path is empty", "Name a file or folder, or leave the option out")
    return None if path is None else Path(path).expanduser()
