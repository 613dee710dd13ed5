"""From the words of `lowzoo train rob` to a finished run, and what it says on the way."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lowzoo.data.source import open_source, split_names
from lowzoo.errors import LowzooError
from lowzoo.train.config import RobConfig, preset_names, resolve
from lowzoo.train.loop import RobRun
from lowzoo.train.progress import Progress
from lowzoo.train.result import RunResult
from lowzoo.train.run_folder import changed_keys, read_config


def run_rob(
    *,
    data: str | None,
    preset: str | None,
    config: Path | None,
    options: Mapping[str, Any],
    settings: Sequence[str],
    out: Path | None,
    resume: bool,
    say: Callable[[str], None],
) -> RunResult:
    """Train; see `lowzoo train rob --help` for the meaning of each word.

    Args:
        data: Source of images, None for the embedded sample set.
        preset: Name of a preset, None for the default of the data and loss.
        config: TOML file.
        options: Fields from the command line, None where absent.
        settings: `key=value` words.
        out: Run folder.
        resume: Go on with the run in the folder.
        say: Receives each line of text.
    """
    check_installed()
    chosen = preset or ("sample" if data is None else f"rob_{options.get('loss') or 'dino'}")
    if chosen not in preset_names():
        raise LowzooError(f"unknown preset {chosen!r}", f"Choose one of {', '.join(preset_names())}")
    resolved = resolve(chosen, config, options, settings)
    folder = out or Path("runs") / f"rob-{resolved.student}"
    if resume:
        resolved = _same_run(folder, resolved)
    source = open_source(data, "train")
    held_out = open_source(data, "validation") if "validation" in split_names(data) else None
    what = "embedded sample set" if data is None else "data"
    say(
        f"RoB-{resolved.loss.upper()}: {resolved.student} from {resolved.teacher} on the {what} {source.name} "
        f"({len(source)} images), preset {chosen}"
    )
    if held_out is None or source.labels is None:
        say("No k-NN monitor: it needs labels and a validation split")
    run = RobRun(resolved, source, held_out, folder, resume=resume, say=say)
    facts = run.teacher.facts
    say(f"Teacher: {facts.architecture}; backbone trained: {facts.training}; head: {facts.head}")
    result = run.train(Progress())
    _report(result, say)
    return result


def check_installed() -> None:
    """Refuse to start without the extra `train`, naming what is missing.

    Raises:
        LowzooError: A package of the extra is missing.
    """
    missing = [name for name in ("cv2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise LowzooError(f"training needs {' and '.join(missing)}", "Run `pip install 'lowzoo[train]'`")


def _same_run(folder: Path, wanted: RobConfig) -> RobConfig:
    """The configuration of the run in `folder`, if the words of this call do not contradict it."""
    stored = read_config(folder)
    changed = changed_keys(stored, wanted)
    if changed:
        raise LowzooError(
            f"the run in {folder} was started with other values of {', '.join(changed)}",
            "Repeat the command of the run with --resume added, or start another run with --out",
        )
    return wanted


def _report(result: RunResult, say: Callable[[str], None]) -> None:
    facts = result.facts
    speed = f", {facts['images_per_s']:.0f} images/s" if facts["images_per_s"] else ""
    loss = f", loss {result.loss:.3f}" if result.loss is not None else ""
    say(f"\nFinished: {facts['steps']} steps{loss}{speed}")
    if result.knn is not None:
        say(f"k-NN top-1 on held-out images (k = 20): {result.knn:.1f} %, at initialisation {result.knn_init:.1f} %")
    if facts["data"]["unreadable"]:
        say(f"{facts['data']['unreadable']} images could not be read; see {result.folder / 'bad_images.txt'}")
    say(f"Everything is in {result.folder}: weights, head, curves.png, metrics.jsonl, config.toml")
    say(f"Next: lowzoo eval knn {result.folder}    or    lowzoo export {result.folder} --format onnx")
