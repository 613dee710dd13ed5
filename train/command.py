"""From the words of `lowzoo train` to a finished run, and what it says on the way."""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError
from lowzoo.base.next_line import next_line
from lowzoo.base.printable import printable
from lowzoo.base.progress import told
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.source import Images, ImageSet, ImageSource, open_set
from lowzoo.evaluate.knn_protocol import hold_out, spared
from lowzoo.system.device import pick_device
from lowzoo.train.data import run_data
from lowzoo.train.defaults import choose, look
from lowzoo.train.distributed import processes as distributed
from lowzoo.train.distributed.child_processes import Relay, needs_script, relayed
from lowzoo.train.monitoring.label_free import LIMIT
from lowzoo.train.monitoring.monitor import why_no_knn
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.networks.warm_start import student_of
from lowzoo.train.recipes import RECIPES, Choice
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.folder import read_config, read_facts
from lowzoo.train.runs.loop import Run
from lowzoo.train.runs.result import RunResult
from lowzoo.train.settings.changes import changed_keys, first_config, read_changes, refuse_other_run
from lowzoo.train.settings.config import checked, named_fields, resolve, validate
from lowzoo.train.settings.view_sizes import fitting_views, sizes_named
from lowzoo.train.teachers.target import word_and_size

# Fewer held-out images tell nothing.
_FEWEST_HELD_OUT = 10
_RUNS = Path("runs")


@dataclass(frozen=True)
class TrainArgs:
    """The words of one `lowzoo train` command; see its `--help`.

    Args:
        recipe: Name of the recipe.
        layers: Presets, later ones over earlier ones; none for settings that follow from data, device and budget.
        data: Source of images, or images; None for the embedded sample set.
        reading: How its images are found and read.
        config: TOML file.
        options: Fields from the command line, None where absent.
        settings: `key=value` words.
        out: Run folder.
        resume: Go on with the run in the folder.
        from_step: To go back to first.
        views: Kind of views that the recipe's own settings are to have, where there are no layers.
        preset_named: Whether the user chose the layers; of a run that goes on they must then be its own.
        teacher_cache: Folder of a teacher cache.
        devices: Processes on this machine.
    """

    recipe: str
    layers: tuple[str, ...]
    data: "Images" = None
    reading: SourceOptions = DEFAULT_OPTIONS
    config: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Sequence[str] = ()
    out: Path | None = None
    resume: bool = False
    from_step: int | None = None
    views: str | None = None
    preset_named: bool = True
    teacher_cache: Path | None = None
    devices: int = 1


def run_training(
    args: TrainArgs, say: Callable[[str], None], began: float | None = None
) -> tuple[Path, dict[str, Any]]:
    """Train; returns the run folder and the content of `run.json`, empty where another process writes it.

    Args:
        args: Arguments of the command.
        say: Receives each line of text.
        began: When the command began, by `time.monotonic`; now if absent.
    """
    began = time.monotonic() if began is None else began
    check_installed()
    images = None
    if args.resume:
        folder = args.out or _run_to_resume(args)
        config = _resumed(args, folder)
    else:
        images = None if args.layers else open_set(args.data, args.reading)
        first = os.environ.get("RANK", "0") == "0"
        config = resolve_args(args, images.open("train") if images else None, say if first else _silent)
        folder = args.out or _RUNS / f"{args.recipe}-{config.student}"
    if args.devices > 1 and distributed.started_together() == 1:
        script = needs_script(args, config, RECIPES[args.recipe])
        with relayed(say) as (relay, started):
            work = partial(_work_apart, args, config, folder, relay, began)
            distributed.spawn(args.devices, work, config.device, script=script, started=started)
        return folder, read_facts(folder)
    result = _work(args, config, folder, say, began, images)
    return folder, result.facts if result else {}


def default_layers(
    recipe: str, *, data: "Images", preset: str | None, student: str | None = None, **options: str | None
) -> tuple[str, ...]:
    """The presets that a command means.

    Args:
        recipe: Name of the recipe.
        data: Source of images; a preset for the embedded sample set goes without one.
        preset: Named by the user; without one settings follow from data, device and budget.
        student: Named by the user.
        options: The recipe's own options that pick among the papers' settings: `loss`, `views`, `method`.

    Raises:
        LowzooError: No such recipe or preset, or options that do not go with it.
    """
    return RECIPES[recipe].layers(Choice(preset, student, data is not None, options))


def check_installed() -> None:
    """Refuse to start without the extra `train`, naming what is missing.

    Raises:
        LowzooError: A package of the extra is missing.
    """
    missing = [name for name in ("cv2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise LowzooError(f"training needs {' and '.join(missing)}", "Run `pip install 'lowzoo[train]'`")


def resolve_args(
    args: TrainArgs, source: ImageSource | None = None, say: Callable[[str], None] = lambda _: None
) -> TrainConfig:
    """The configuration that a command means.

    Args:
        args: Arguments of the command.
        source: The training images, which settings follow from where the user names no preset.
        say: Told what was chosen where the user named nothing.

    Raises:
        LowzooError: An unknown key, an impossible value, a configuration of another recipe, unusable images.
    """
    options = dict(args.options)
    named = named_fields(args.config, options, args.settings)
    if named.get("init") and not named.get("student"):
        named["student"] = options["student"] = student_of(str(named["init"]))
    _refuse_other_recipe(args, named.get("recipe", args.recipe))
    if args.views and "views" in named:
        raise LowzooError(f"--views {args.views} and the setting views both name them", "Leave out one of the two")
    why: tuple[str, ...] = ()
    if args.layers:
        resolved = resolve(args.layers, args.config, options, args.settings)
    else:
        named = checked(args.recipe, named)
        if source is None:
            source = open_set(args.data, args.reading).open("train")
        chosen = choose(look(args.recipe, source, named, _processes(args)), named | {"view_preset": args.views})
        resolved = resolve(chosen.fields, args.config, options, args.settings)
        for reason in chosen.reasons:
            say(f"Chosen: {reason}")
        if chosen.caution:
            say(chosen.caution)
        why = chosen.reasons
    _refuse_other_recipe(args, resolved.recipe)
    sizes = sizes_named(args.config, args.settings, [group.name for group in resolved.views])
    changes: list[str] = []
    views = fitting_views(resolved, sizes, changes.append)
    for change in changes:
        say(change)
    # A configuration file, such as another run's, may hold reasons that are not those of this one.
    if views is None:
        return resolved.model_copy(update={"chosen": why})
    why = () if args.layers else (*why, *changes)
    return validate(resolved.model_dump(exclude_none=True) | {"views": views, "chosen": why})


def _refuse_other_recipe(args: TrainArgs, recipe: Any, whose: str = "the configuration") -> None:
    if recipe != args.recipe:
        also = " --resume" if args.resume else ""
        raise LowzooError(f"{whose} is one of recipe {recipe}", f"Run `lowzoo train {recipe}{also}` with it")


def _processes(args: TrainArgs) -> int:
    together = distributed.started_together()
    return together if together > 1 else args.devices


def _run_to_resume(args: TrainArgs) -> Path:
    """The folder of the run that is meant: of the student that the arguments name, else the only one of the recipe.

    Where neither a student nor a preset is named, the student was chosen for the data, and may be any.

    Raises:
        LowzooError: There are several.
    """
    folder = _RUNS / f"{args.recipe}-{_student(args)}"
    named = named_fields(args.config, args.options, args.settings)
    if named.get("student") or named.get("init") or (args.layers and folder.is_dir()):
        return folder
    runs = sorted(file.parent for file in _RUNS.glob(f"{args.recipe}-*/config.toml"))
    if len(runs) > 1:
        raise LowzooError(f"several runs of {args.recipe}: {', '.join(map(str, runs))}", "Name one by --out")
    return runs[0] if runs else folder


def _student(args: TrainArgs) -> str:
    """The student that the arguments name, or the recipe's own."""
    named = named_fields(args.config, args.options, args.settings)
    if named.get("init") and not named.get("student"):
        return student_of(str(named["init"]))
    if args.layers:
        return resolve(args.layers, args.config, args.options, args.settings).student
    return str(named.get("student", RECIPES[args.recipe].student))


def open_run(
    args: TrainArgs,
    config: TrainConfig,
    folder: Path,
    say: Callable[[str], None],
    began: float | None = None,
    images: ImageSet | None = None,
    held: ExitStack | None = None,
) -> Run:
    """One process's run, ready for its first step, and what there is to say before it.

    Args:
        args: Arguments of the command.
        config: What they mean.
        folder: Run folder.
        say: Receives each line of text.
        began: When the command began, see `Run`.
        images: What the words mean, where it was opened already.
        held: Takes the claim on the folder, see `Run`.
    """
    distributed.join(pick_device(config.device))
    if not distributed.is_main():
        say = _silent
    source, queries = _open_images(args, config, folder, say, images)
    what = "embedded sample set" if args.data is None else "data"
    taught = f" from {config.taught.teacher}" if config.taught else ""
    say(
        f"{config.method_name}: {config.student}{taught} on the {what} {source.name} ({len(source)} images), "
        + _origin_of_settings(args)
    )
    if config.monitor_epochs and (why := why_no_knn(source, queries)):
        where = "held-out images" if queries is not None else "training images, as none can be spared"
        say(f"No k-NN monitor: {why}. The label-free monitors use {where}")
    run = Run(
        config,
        source,
        queries,
        folder,
        resume=args.resume,
        from_step=args.from_step,
        teacher_cache=args.teacher_cache,
        say=say,
        began=began,
        held=held,
    )
    if run.teacher:
        facts = run.teacher.facts
        say(f"Teacher: {facts.architecture}; backbone trained: {facts.training}; head: {facts.head}")
    return run


def _origin_of_settings(args: TrainArgs) -> str:
    if args.resume and not args.preset_named:
        return "settings of the run"
    return f"preset {' + '.join(args.layers)}" if args.layers else "settings chosen for it"


def _open_images(
    args: TrainArgs, config: TrainConfig, folder: Path, say: Callable[[str], None], images: ImageSet | None
) -> tuple[ImageSource, ImageSource | None]:
    """The training images and those of the monitor, which a set that is not divided gives up a fifth of each class for.

    Args:
        args: Arguments of the command.
        config: What they mean.
        folder: Folder of the run.
        say: Receives each line of text.
        images: What the words mean, where it was opened already.
    """
    images = images or open_set(args.data, args.reading)
    source = images.open("train")
    if args.data is not None:
        for line in source.found.lines():
            say(printable(line))
    if "validation" in images.splits:
        return source, images.open("validation")
    # A run that goes on keeps the images that it was begun with, whatever the monitor does now.
    begun = run_data.holds_out(folder) if args.resume else None
    if not (config.monitor_epochs if begun is None else begun):
        return source, None
    if source.labels is None or len(np.unique(source.labels[source.labels >= 0])) < 2:
        return _spare(source, say)
    if not spared(source):
        return source, None
    rest, held = hold_out(source)
    say(
        f"Held out for the k-NN monitor: a fifth of each class, {len(held)} images "
        "(--set monitor_epochs=0 trains on all)"
    )
    return rest, held


def _spare(source: ImageSource, say: Callable[[str], None]) -> tuple[ImageSource, ImageSource | None]:
    """Images without classes to tell, and a tenth of them for the monitors; none of a stream or of a small set."""
    count = min(LIMIT, len(source) // 10)
    if source.streamed or count < _FEWEST_HELD_OUT:
        return source, None
    order = np.random.default_rng(0).permutation(len(source))
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    say(f"Held out for the monitors: {count} images (--set monitor_epochs=0 trains on all)")
    return (
        replace(source.subset(rest), name=f"{source.name} but {count} images"),
        replace(source.subset(held), name=f"{source.name}, {count} images"),
    )


def _work(
    args: TrainArgs,
    config: TrainConfig,
    folder: Path,
    say: Callable[[str], None],
    began: float,
    images: ImageSet | None = None,
) -> RunResult | None:
    """One process's part of the run."""
    with ExitStack() as held:
        result = open_run(args, config, folder, say, began, images, held).train(Progress())
    if result:
        _report(result, args, say)
    return result


def _work_apart(args: TrainArgs, config: TrainConfig, folder: Path, say: Relay, began: float) -> None:
    """The part of a process that another one has started, which hears what is said."""
    with told(say):
        _work(args, config, folder, say, began)


def _resumed(args: TrainArgs, folder: Path) -> TrainConfig:
    """What the run in `folder` goes on with: its own configuration, and over it what the command names.

    Raises:
        LowzooError: The command names what cannot change on the way, or a preset that the run was not started with.
    """
    old = read_config(folder)
    fields = old.model_dump(mode="json", exclude_none=True)
    _refuse_other_recipe(args, old.recipe, f"the run in {folder}")
    named = named_fields(args.config, args.options, args.settings)
    _refuse_other_recipe(args, named.get("recipe", args.recipe))
    if args.views and not fields.get("alpha"):
        raise LowzooError(
            f"the run in {folder} was started without the views of {args.views}",
            "Leave out --views to go on with the run's own, or start another run with --out",
        )
    config = resolve(fields, args.config, args.options, args.settings)
    if args.preset_named:
        # In how many parts a batch fits is found out as a run begins.
        wanted = resolve_args(args).model_copy(update={"accumulate": config.accumulate})
        first = first_config(old, read_changes(folder))
        foreign = [key for key in changed_keys(first, wanted) if key in changed_keys(config, wanted)]
        if foreign:
            raise LowzooError(
                f"the run in {folder} was started with other values of {', '.join(foreign)} than preset "
                f"{' + '.join(args.layers)}",
                "Leave out --preset to go on with the run's own, or start another run with --out",
            )
    refuse_other_run(folder, old, config)
    return config


def _report(result: RunResult, args: TrainArgs, say: Callable[[str], None]) -> None:
    facts = result.facts
    speed = f", {facts['images_per_s']:.0f} images/s" if facts["images_per_s"] else ""
    loss = f", loss {result.loss:.3f}" if result.loss is not None else ""
    say(f"\nFinished: {facts['steps']} step{'s' * (facts['steps'] != 1)}{loss}{speed}")
    if result.verdict is not None:
        say(str(result.verdict))
        if result.verdict.remedy:
            say(result.verdict.remedy)
    if distances := facts["result"].get("compatible"):
        say(
            f"Cosine distance to {facts['compatible']['model']}: {distances[0]:.3f} -> {distances[-1]:.3f}; "
            "k-NN by its index tells what that is worth"
        )
        word, _ = word_and_size(read_config(result.folder))
        data = ("--data", args.data) if isinstance(args.data, str | Path) else ()
        say(next_line(("eval", "knn", result.folder, "--bank", word, *data)))
    if facts["data"]["unreadable"]:
        unreadable = facts["data"]["unreadable"]
        say(f"Images that could not be read, repeats counted: {unreadable}; see {result.folder / 'bad_images.txt'}")
    for oddity, count in facts["data"]["odd"].items():
        say(f"Images that are {oddity}: {count}; see {result.folder / 'odd_images.txt'}")
    say(f"Everything is in {result.folder}: weights, head, curves.png, metrics.jsonl, config.toml")
    say(next_line(("eval", "knn", result.folder), ("export", result.folder, "--format", "onnx")))


def _silent(_: str) -> None:
    """Only the main process speaks."""
