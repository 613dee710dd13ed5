"""From the words of `lowzoo train` to a finished run, and what it says on the way."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lowzoo.data.source import open_source, split_names
from lowzoo.errors import LowzooError
from lowzoo.evaluate.device import pick_device
from lowzoo.following import next_line
from lowzoo.train import distributed
from lowzoo.train.config import preset_names, resolve
from lowzoo.train.loop import Run
from lowzoo.train.progress import Progress
from lowzoo.train.recipes import RobConfig, SeedConfig, TrainConfig
from lowzoo.train.result import RunResult
from lowzoo.train.run_folder import changed_keys, read_config, read_facts


@dataclass(frozen=True)
class TrainWords:
    """The words of one `lowzoo train` command; see its `--help`.

    Args:
        recipe: rob, seed or sslight.
        layers: Presets, later ones over earlier ones.
        data: Source of images, None for the embedded sample set.
        config: TOML file.
        options: Fields from the command line, None where absent.
        settings: `key=value` words.
        out: Run folder.
        resume: Go on with the run in the folder.
        teacher_cache: Folder of a teacher cache.
        devices: Processes on this machine.
    """

    recipe: str
    layers: tuple[str, ...]
    data: str | None = None
    config: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Sequence[str] = ()
    out: Path | None = None
    resume: bool = False
    teacher_cache: Path | None = None
    devices: int = 1


def run_training(words: TrainWords, say: Callable[[str], None]) -> dict[str, Any]:
    """Train; returns the content of `run.json`.

    Args:
        words: Of the command.
        say: Receives each line of text.
    """
    check_installed()
    resolved = resolve_words(words)
    folder = words.out or Path("runs") / f"{words.recipe}-{resolved.student}"
    if words.resume:
        _same_run(folder, resolved)
    if words.devices > 1 and not distributed.under_torchrun():
        distributed.spawn(words.devices, partial(_work, words, resolved, folder, say), resolved.device)
        return read_facts(folder)
    result = _work(words, resolved, folder, say)
    return result.facts if result else {}


def default_layers(recipe: str, *, data: str | None, preset: str | None, **choice: str | None) -> tuple[str, ...]:
    """The presets that a command means.

    Args:
        recipe: rob, seed or sslight.
        data: Source of images; without one the settings are those of the embedded sample set.
        preset: Named by the user.
        choice: The options that pick among the papers' settings: `loss`, `views`, `method`, `student`.

    Raises:
        LowzooError: No such preset, or views that do not go with it.
    """
    if recipe == "sslight":
        return _sslight_layers(data, preset, choice)
    sample = "sample" if recipe == "rob" else f"sample_{recipe}"
    paper = f"rob_{choice.get('loss') or 'dino'}" if recipe == "rob" else "seed"
    named = preset or (sample if data is None else paper)
    own = ("tin100",) if recipe == "rob" else ()
    known = [name for name in preset_names() if name.startswith(recipe) or name in (sample, *own)]
    if named not in known:
        raise LowzooError(f"unknown preset {named!r} of {recipe}", f"Choose one of {', '.join(known)}")
    below = {"rob_swav_bridge": ("rob_swav",)}.get(named, ("seed",) if named.startswith("seed_") else ())
    return (*below, named, *_free_views(choice.get("views"), named))


def _free_views(views: str | None, preset: str) -> tuple[str, ...]:
    """SSLight's views and pair weights over the settings of another recipe."""
    if views is None:
        return ()
    if views != "sslight":
        raise LowzooError(f"unknown views {views!r}", "Choose sslight, or set fields with --set view.NAME.FIELD=...")
    if not preset.startswith("rob_"):
        raise LowzooError(
            f"SSLight's views are laid over the settings of a paper, and preset {preset} is none",
            "Name --data, or a preset rob_...",
        )
    return ("sslight_views_sslight",)


def _sslight_layers(data: str | None, preset: str | None, choice: Mapping[str, str | None]) -> tuple[str, ...]:
    views = preset or "sslight"
    if views not in ("baseline", "sslight"):
        raise LowzooError(f"unknown preset {views!r} of sslight", "Choose baseline or sslight")
    method = choice.get("method") or "dino"
    student = choice.get("student") or "mobilenetv2"
    kind = "vit" if "vit" in student or "deit" in student else "cnn"
    base = f"sslight_{method}_{kind}"
    if base not in preset_names():
        raise LowzooError(
            f"the paper has no settings of method {method!r} for {student}",
            "Use --method dino, or --student mobilenetv2",
        )
    softer = "sslight_views_sslight" if views == "sslight" else f"sslight_views_baseline_{kind}"
    return (base, softer, "sample_sslight") if data is None else (base, softer)


def check_installed() -> None:
    """Refuse to start without the extra `train`, naming what is missing.

    Raises:
        LowzooError: A package of the extra is missing.
    """
    missing = [name for name in ("cv2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise LowzooError(f"training needs {' and '.join(missing)}", "Run `pip install 'lowzoo[train]'`")


def resolve_words(words: TrainWords) -> TrainConfig:
    """The configuration that a command means.

    Raises:
        LowzooError: An unknown key, an impossible value, a configuration of another recipe.
    """
    resolved = resolve(words.layers, words.config, words.options, words.settings)
    if resolved.recipe != words.recipe:
        raise LowzooError(
            f"the configuration is one of recipe {resolved.recipe}", f"Run `lowzoo train {resolved.recipe}` with it"
        )
    return resolved


def open_run(words: TrainWords, config: TrainConfig, folder: Path, say: Callable[[str], None]) -> Run:
    """One process's run, ready for its first step, and what there is to say before it.

    Args:
        words: Of the command.
        config: What they mean.
        folder: Run folder.
        say: Receives each line of text.
    """
    distributed.join(pick_device(config.device))
    if not distributed.is_main():
        say = _silent
    source = open_source(words.data, "train")
    held_out = open_source(words.data, "validation") if "validation" in split_names(words.data) else None
    what = "embedded sample set" if words.data is None else "data"
    taught = f" from {config.teacher}" if isinstance(config, RobConfig | SeedConfig) else ""
    say(
        f"{config.method_name}: {config.student}{taught} on the {what} {source.name} ({len(source)} images), "
        f"preset {' + '.join(words.layers)}"
    )
    if held_out is None or source.labels is None:
        say("No k-NN monitor: it needs labels and a validation split")
    run = Run(config, source, held_out, folder, resume=words.resume, teacher_cache=words.teacher_cache, say=say)
    if run.teacher:
        facts = run.teacher.facts
        say(f"Teacher: {facts.architecture}; backbone trained: {facts.training}; head: {facts.head}")
    return run


def _work(words: TrainWords, config: TrainConfig, folder: Path, say: Callable[[str], None]) -> RunResult | None:
    """One process's part of the run."""
    result = open_run(words, config, folder, say).train(Progress())
    if result:
        _report(result, say)
    return result


def _same_run(folder: Path, wanted: TrainConfig) -> None:
    """Refuse to go on with the run in `folder` under other settings."""
    changed = changed_keys(read_config(folder), wanted)
    if changed:
        raise LowzooError(
            f"the run in {folder} was started with other values of {', '.join(changed)}",
            "Repeat the command of the run with --resume added, or start another run with --out",
        )


def _report(result: RunResult, say: Callable[[str], None]) -> None:
    facts = result.facts
    speed = f", {facts['images_per_s']:.0f} images/s" if facts["images_per_s"] else ""
    loss = f", loss {result.loss:.3f}" if result.loss is not None else ""
    say(f"\nFinished: {facts['steps']} steps{loss}{speed}")
    if result.knn is not None:
        say(f"k-NN top-1 on held-out images (k = 20): {result.knn:.1f} %, at initialisation {result.knn_init:.1f} %")
    if facts["data"]["unreadable"]:
        unreadable = facts["data"]["unreadable"]
        say(f"Images that could not be read, repeats counted: {unreadable}; see {result.folder / 'bad_images.txt'}")
    say(f"Everything is in {result.folder}: weights, head, curves.png, metrics.jsonl, config.toml")
    say(next_line(("eval", "knn", result.folder), ("export", result.folder, "--format", "onnx")))


def _silent(_: str) -> None:
    """Only the main process speaks."""
