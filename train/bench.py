"""`lowzoo train ... --bench`: time some steps of a real run, and say by name what bounds them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lowzoo.errors import LowzooError
from lowzoo.files import write_text
from lowzoo.train.command import TrainWords, check_installed, open_run, resolve_words
from lowzoo.train.loop import Run
from lowzoo.train.progress import track
from lowzoo.train.step_timer import StepTimer

_WARM_UP, _MEASURED = 5, 30


def run_bench(words: TrainWords, say: Callable[[str], None]) -> dict[str, Any]:
    """Time a run of these words without training to the end; nothing remains of it but `bench.json`.

    Args:
        words: Arguments of the command; the report goes to its run folder, or beside `runs`.
        say: Receives each line of text.

    Returns:
        The report: images/s, shares of a step, memory, arithmetic, bottleneck.
    """
    import json

    check_installed()
    config = resolve_words(words, say=say)
    config = config.model_copy(update={"monitor_epochs": 0, "log": (), "checkpoint_steps": 0})
    with tempfile.TemporaryDirectory() as scratch:
        run = open_run(words, config, Path(scratch) / "run", say)
        report = measure(run)
    file = (words.out or Path("runs")) / "bench.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(report, indent=2) + "\n")
    for line in describe(report):
        say(line)
    say(f"Stored in {file}")
    return report


def measure(run: Run, warm_up: int = _WARM_UP, steps: int = _MEASURED) -> dict[str, Any]:
    """Time `steps` steps of a run after `warm_up` others; it cannot be trained afterwards.

    Raises:
        LowzooError: A run of fewer than three steps.
    """
    total = min(warm_up + steps, len(run.updates) - 2)
    if total < 1:
        raise LowzooError(
            f"a run of {len(run.updates)} steps is too short to be timed", "Add epochs, or make the batch smaller"
        )
    warm_up = min(warm_up, total // 2)
    timer = StepTimer(run)
    for number in track(range(total), "timing steps"):
        if number == warm_up:
            timer.forget()
        timer.step()
    return timer.report()


def describe(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    shares = "   ".join(f"{name} {100 * share:.0f} %" for name, share in report["shares"].items())
    memory = f"{report['peak_memory_mb']:.0f} MB" if report["peak_memory_mb"] else "not known"
    return [
        f"{report['images_per_s']:.0f} images/s ({report['images_per_s_per_device']:.0f} a device, "
        f"{report['devices']} device(s): {report['device']}, {report['precision']})",
        f"Of a step: {shares}",
        f"The loader alone gives {report['loader_images_per_s']:.0f} images/s",
        f"{report['gflop_per_image']:.2f} GFLOP an image: {100 * report['flop_utilisation']:.0f} % of the measured "
        f"matrix-product peak of {report['matmul_peak_gflops']:.0f} GFLOP/s; peak memory {memory}",
        f"Bottleneck: {report['bottleneck']} ({_ADVICE[report['bottleneck']]})",
    ]


_ADVICE = {
    "data": "more --set workers=N, or smaller images on disk",
    "teacher": "--teacher-cache DIR keeps what it said",
    "student": "a larger device, --precision bf16, --set compile=true, or onednn=true on an AMD processor",
    "views": "fewer or smaller views",
}
