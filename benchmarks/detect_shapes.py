"""Detectors on three backbones, from trained and from random weights, on the generated set of `make_shapes.py`.

    python benchmarks/detect_shapes.py --data shapes --work /tmp/rows

Each row is a run of `lowzoo eval segment` in a process of its own. Rows that are done stand in
`benchmarks/results/detect_shapes.json` and are left out; a run that was broken off goes on from its checkpoint. The
table beside it is written after each row. Seconds are of a clock, and of all cores together: on a machine that others
use, only the latter say how long the run takes on two free cores.

Trained backbones are the MobileNetV2 and the ViT-Tiny that the package bundles, and a ResNet-18 from three minutes of
`lowzoo train rob` on the drawings that it bundles, which this script makes first where it is not there.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowzoo.system.machine import versions

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "detect_shapes.json"
MODELS = {
    "mobilenetv2": "mobilenetv2_100",
    "resnet18": "resnet18",
    "vit_tiny": "rob_vit_tiny",
    "vit_tiny_plain": "rob_vit_tiny",
}
# In bfloat16 a ViT takes more steps in the same time; the plain one is as ViTs were before they had a spatial prior.
WORDS = {
    "vit_tiny": ["--set", "precision=bf16"],
    "vit_tiny_plain": ["--image-size", "128", "--set", "network.spatial_prior=false"],
}
# Of these, random twins are measured, too.
TWINS = ("mobilenetv2", "vit_tiny")
# What three minutes of two cores were on the machine of `default_settings.py`.
RESNET18_STEPS = 337


@dataclass(frozen=True)
class Row:
    """One run.

    Args:
        model: Name in `MODELS`.
        trained: Whether the backbone starts from its weights.
        steps: Length.
        seed: Random seed.
    """

    model: str
    trained: bool
    steps: int
    seed: int

    @property
    def name(self) -> str:
        """Key of the row."""
        return f"{self.model}-{'trained' if self.trained else 'random'}-{self.steps}-{self.seed}"


def rows(long: int, short: int) -> list[Row]:
    """What is measured: one long run of each backbone, and short ones that compare starting points."""
    found = [Row(model, True, long, 0) for model in MODELS]
    found += [Row(model, start, short, seed) for model in TWINS for seed in range(3) for start in (True, False)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="what make_shapes.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="run folders")
    parser.add_argument("--steps", type=int, default=1200, help="of the long runs")
    parser.add_argument("--short", type=int, default=300, help="of those that are compared")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    args = parser.parse_args()
    for row in rows(args.steps, args.short):
        if args.only in row.name and row.name not in measured():
            write({**measured(), row.name: run(row, args.data, args.work / row.name)})
            print(row.name, json.dumps(measured()[row.name]["figures"]), flush=True)
    write(measured())


def model_word(row: Row, work: Path) -> str:
    """What the command takes for a row's backbone; the bundled MobileNetV2 is a teacher, so it is written out."""
    if row.model == "resnet18" and row.trained:
        return str(trained_resnet18(work / "rob_resnet18"))
    if row.model != "mobilenetv2" or not row.trained:
        return MODELS[row.model]
    file = work / "mobilenetv2.safetensors"
    if not file.is_file():
        from safetensors.torch import save_file

        from lowzoo import catalog
        from lowzoo.train.teachers.published import load_published
        from lowzoo.zoo.teacher_file import local_file

        entry = catalog.teacher("mobilenetv2_supervised")
        bundled = local_file(entry)
        assert bundled is not None
        state = load_published(bundled, entry, with_head=False).backbone.state_dict()
        work.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in state.items()}, file)
    return f"mobilenetv2_100@{file}"


def trained_resnet18(folder: Path) -> Path:
    """A run folder of RoB on the bundled drawings."""
    if not (folder / "run.json").is_file():
        words = ["train", "rob", "--student", "resnet18", "--steps", str(RESNET18_STEPS), "--out", str(folder)]
        words += ["--resume"] if folder.is_dir() else []
        lowzoo(words, check=True)
    return folder


def lowzoo(words: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command of the package."""
    return subprocess.run([sys.executable, "-c", "from lowzoo.cli.main import main; main()", *words], **options)


def run(row: Row, data: Path, folder: Path) -> dict[str, object]:
    """Train and measure, or go on where the run was broken off."""
    word = model_word(row, folder.parent)
    words = ["--steps", str(row.steps), "--seed", str(row.seed), "--data", str(data), "--folder", str(folder)]
    words += [] if row.trained else ["--random-init"]
    words += WORDS.get(row.model, [])
    words += ["--set", "checkpoint_steps=25", "--json"]
    goes_on = (folder / "settings.json").is_file()
    words += ["--resume"] if goes_on else []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = lowzoo(["eval", "segment", word, *words], stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    now = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = {"seconds": time.monotonic() - began, "core_seconds": now, "whole": not goes_on}
    # What parts that were broken off have cost stands beside them.
    cost = folder / "spent.json"
    if cost.is_file():
        earlier = json.loads(cost.read_text())
        spent = {key: spent[key] + earlier[key] for key in ("seconds", "core_seconds")} | {"whole": earlier["whole"]}
    if folder.is_dir():
        cost.write_text(json.dumps(spent))
    if done.returncode:
        raise SystemExit(f"{row.name} ended with status {done.returncode}")
    document = json.loads(done.stdout)
    return {
        "model": row.model,
        "trained": row.trained,
        "steps": row.steps,
        "seed": row.seed,
        "figures": {each["metric"]: each["mean"] for each in document["figures"]},
        **{key: round(value, 1) if key != "whole" else value for key, value in spent.items()},
        "versions": {**versions(), **document["versions"]},
        "cores": os.cpu_count(),
        "settings": document["settings"],
    }


def measured() -> dict[str, dict]:
    """The rows that are done."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def write(found: dict[str, dict]) -> None:
    """Write the rows and the table."""
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    told = [part.replace("\n", " ") for part in (__doc__ or "").strip().split("\n\n")[2:]]
    lines = ["# Detectors on a generated set", "", "\n\n".join(told), ""]
    heads = ["backbone", "start", "px", "precision", "spatial prior", "steps", "seed"]
    heads += ["box AP50", "mask AP50", "box AP", "mask AP", "min", "core min"]
    lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in found.values():
        figures, settings = row["figures"], row["settings"]
        start = "trained" if row["trained"] else "random"
        prior = "yes" if settings["network"].get("spatial_prior") else ""
        shown = [figures.get(name, 0) for name in ("box AP50", "mask AP50", "box AP", "mask AP")]
        cells = [row["model"], start, settings["test_size"], settings["precision"], prior, row["steps"], row["seed"]]
        cells += [f"{value:.1f}" for value in shown]
        cells += [f"{row['seconds'] / 60:.1f}{'' if row['whole'] else ' (part)'}", f"{row['core_seconds'] / 60:.1f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    least = min((row["steps"] for row in found.values()), default=0)
    for model in TWINS:
        pairs = {
            start: [
                row["figures"]["box AP"]
                for row in found.values()
                if (row["model"], row["trained"], row["steps"]) == (model, start, least)
            ]
            for start in (True, False)
        }
        if all(len(values) == 3 for values in pairs.values()):
            (a, b), (c, d) = (map(measure, pairs.values()) for measure in (statistics.fmean, statistics.stdev))
            lines += ["", f"{model}, {least} steps: box AP {a:.1f} from trained weights, {b:.1f} from random ones;"]
            lines += [f"standard deviations over three seeds {c:.1f} and {d:.1f}."]
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
