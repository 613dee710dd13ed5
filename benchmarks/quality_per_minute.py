"""What each trainer makes of the same photographs in the same minutes: k-NN and a linear probe.

    python benchmarks/quality_per_minute.py --data tiny-imagenet-100 --work DIR --peers PYTHON
        [--minutes 5 20] [--seeds 1] [--only SIDE ...] [--clock processor] [--student resnet18]
    python benchmarks/quality_per_minute.py --tables

25,000 photographs (every second of tiny-imagenet-100's training images, 64 px), one student, one machine of two cores.
`lowzoo-*` are `lowzoo train ... --minutes M` with no other option than the student; `lowzoo-rob-sslight` is RoB with
the views that SSLight's defaults have. `--peers` is a Python with lightly-train and lightly; what its sides are stands
in `quality_per_minute_peers.py`. lightly-train's distillation is not among them: its teachers are DINOv2 and DINOv3
networks alone, and cannot be had without a network; plain distillation from the bundled teacher stands in its place.

By `--clock wall` a side has both cores for M minutes; a peer's start and its trial steps come on top. By `--clock
processor` it has as much processor time of one thread as two cores give in M minutes (1.7 seconds for one), which other
work on the machine changes little; for ours, prototypes are fitted within it, and no monitor runs.

Every student is judged alike: k-NN (k = 20) with 10,000 of the photographs as bank and 2,500 others as queries, at 64
and at 96 px, of which the better counts; the linear probe on 5,000 of the bank at that size, on the network's own
feature and with one penalty. Rows that are there are not measured again. Results: results/quality_per_minute.json, .md
and .png.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import documents
import numpy as np
import timm
import torch
from processor_minutes import TWO_CORES, config_of, holds_run
from safetensors.torch import save_file
from tiny_imagenet_part import part

import lowzoo
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.knn_protocol import TrainTestData
from lowzoo.train.defaults import choose, look
from lowzoo.train.networks.encoder import create_student
from lowzoo.train.settings.config import named_fields, resolve

OUT = Path(__file__).parent / "results" / "quality_per_minute.json"
TEACHER, SIDE = "mobilenetv2_supervised", 64
STUDENTS = {"mobilenetv3_large_100": "MobileNetV3-Large", "resnet18": "ResNet-18"}
EVALUATED = (64, 96)
OWN = ("lowzoo-rob", "lowzoo-seed", "lowzoo-sslight", "lowzoo-rob-sslight")
PEERS = (
    "lightly-train-dino",
    "lightly-train-dino-64",
    "lightly-train-simclr",
    "lightly-train-simclr-64",
    "lightly-moco",
    "lightly-dino",
    "plain-distillation",
)
# timm's random initialisation, and ours with residual branches at zero; they cost no minute.
UNTRAINED = ("untrained", "lowzoo-untrained")
SIDES = (*UNTRAINED, *OWN, *PEERS)
# Of the linear probe; a search for each side's best would take longer than its training.
_PENALTY = 0.01
# Sides that a teacher taught; the others had none.
TAUGHT = ("lowzoo-rob", "lowzoo-seed", "lowzoo-rob-sslight", "plain-distillation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the parquet files")
    parser.add_argument("--work", type=Path, help="photographs and run folders")
    parser.add_argument("--peers", default="python", help="a Python with lightly-train and lightly")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 20])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=SIDES, metavar="SIDE")
    parser.add_argument("--student", choices=list(STUDENTS), default="mobilenetv3_large_100")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--tables", action="store_true", help="write table and picture alone")
    words = parser.parse_args()
    if words.tables:
        _tables(documents.read(OUT))
        return
    if not words.data or not words.work:
        parser.error("--data and --work are needed")
    bank = part(words.data, "train", np.arange(0, 50_000, 2))
    queries = part(words.data, "validation", np.arange(0, 5_000, 2))
    folder = _photographs(bank, words.work / "photographs")
    document = documents.read(OUT, {"rows": {}})
    for minutes in words.minutes:
        for seed in range(words.seeds):
            for side in words.only:
                key = _key(side, minutes, seed, words)
                if key in document["rows"]:
                    continue
                trained = words.work / key / "trained.json"
                if not trained.exists():
                    documents.write(trained, _row(side, minutes, seed, words, bank, folder))
                row = documents.read(trained) | _judged(
                    words.work / key, words.student, bank, queries, probed=side not in UNTRAINED
                )
                row |= {"side": side, "minutes": minutes, "seed": seed, "clock": words.clock, "student": words.student}
                document = documents.read(OUT, {"rows": {}})
                document["rows"][key] = row | documents.circumstances() | {"cores": os.cpu_count()}
                documents.write(OUT, document)
                print(key, {name: row[name] for name in ("knn", "linear", "steps", "spent")}, flush=True)
    _tables(document)


def _key(side: str, minutes: float, seed: int, words: argparse.Namespace) -> str:
    """Name of a row and of its folder; the first student's go without its name."""
    student = "" if words.student == next(iter(STUDENTS)) else f"-{words.student}"
    return f"{side}-{minutes:g}min-{seed}-{words.clock}{student}"


def _row(
    side: str, minutes: float, seed: int, words: argparse.Namespace, bank: ImageSource, folder: Path
) -> dict[str, Any]:
    """Train one side, and leave its student in its folder as weights.pth."""
    out = words.work / _key(side, minutes, seed, words)
    out.mkdir(parents=True, exist_ok=True)
    if side in UNTRAINED:
        torch.manual_seed(seed)
        network = timm.create_model(words.student, num_classes=0)
        if side.startswith("lowzoo"):
            named = [f"student={words.student}", f"minutes={minutes}"]
            chosen = choose(look("sslight", bank, named_fields(settings=named), 1), named_fields(settings=named))
            network = create_student(resolve(chosen.fields, settings=named))
        torch.save(network.state_dict(), out / "weights.pth")
        return {"steps": 0, "spent": 0.0, "versions": {"timm": timm.__version__}}
    if side in OWN:
        return _own(side, minutes, seed, words, bank, folder, out)
    seconds = minutes * 60 * (TWO_CORES if words.clock == "processor" else 1)
    teacher = words.work / "teacher.safetensors"
    if not teacher.exists():
        save_file(lowzoo.load(TEACHER).model.state_dict(), teacher)
    told = {
        "folder": str(folder),
        "images": len(bank),
        "out": str(out / "weights.pth"),
        "student": words.student,
        "seconds": seconds,
        "clock": words.clock,
        "seed": seed,
        "workers": 0 if words.clock == "processor" else 2,
        "teacher": str(teacher),
        "teacher_architecture": "mobilenetv2_100",
        "teacher_size": 96,
    }
    script = Path(__file__).with_name("quality_per_minute_peers.py")
    done = subprocess.run(
        [words.peers, str(script), side, json.dumps(told)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _own(
    side: str, minutes: float, seed: int, words: argparse.Namespace, bank: ImageSource, folder: Path, out: Path
) -> dict[str, Any]:
    from lowzoo.train.monitoring.progress import Progress
    from lowzoo.train.recipes.sslight.defaults import defaults
    from lowzoo.train.runs.loop import Run

    recipe = side.split("-")[1]
    softer: Mapping[str, Any] = {}
    if side == "lowzoo-rob-sslight":
        from lowzoo.train.recipes.recipe import Budget

        fields = defaults(look("sslight", bank, {"student": words.student}, 1), {}, Budget(64, SIDE))
        softer = {name: fields[name] for name in ("views", "alpha", "beta")}
    began = time.perf_counter(), time.process_time()
    if words.clock == "processor":
        torch.set_num_threads(1)
        settings = [f"student={words.student}", f"seed={seed}", "monitor_epochs=0"]
        config = config_of(out / "run", recipe, bank, minutes, settings, softer, whole=True)
        began = time.perf_counter(), time.process_time()
        result = Run(config, bank, None, out / "run", resume=holds_run(out / "run")).train(Progress())
        assert result is not None
        steps = config.steps
    else:
        trained = lowzoo.train.run(
            recipe,
            folder,
            student=words.student,
            seed=seed,
            minutes=minutes,
            out=out / "run",
            settings=softer or None,
            resume=holds_run(out / "run"),
        )
        steps = trained.steps
    spent = time.perf_counter() - began[0] if words.clock == "wall" else time.process_time() - began[1]
    network = lowzoo.load(out / "run").model
    torch.save(network.state_dict(), out / "weights.pth")
    versions = {"torch": torch.__version__, "lowzoo": lowzoo.__version__}
    return {"steps": steps, "spent": spent, "config": (out / "run" / "config.toml").read_text(), "versions": versions}


def _judged(folder: Path, student: str, bank: ImageSource, queries: ImageSource, *, probed: bool) -> dict[str, Any]:
    """k-NN by size, and the linear probe at the better one; it takes minutes on random features."""
    network = timm.create_model(student, num_classes=0)
    weights = torch.load(folder / "weights.pth", weights_only=True)
    wanted = network.state_dict().keys()
    missing = [name for name in wanted if name not in weights]
    assert not missing, missing
    network.load_state_dict({name: weights[name] for name in wanted})
    many = bank.subset(np.flatnonzero(np.arange(len(bank)) % 5 < 2))
    knns: dict[str, float] = {}
    for size in EVALUATED:
        judged = lowzoo.evaluate.knn(
            lowzoo.load(network, size=size, name=f"{folder.name}"), data=TrainTestData(many, queries), k=20
        )
        knns[str(size)] = judged.top1
    better = max(knns, key=lambda size: knns[size])
    found = {"knn": knns[better], "knn_by_size": knns, "evaluated_at": int(better), "linear": None}
    if not probed:
        return found
    few = bank.subset(np.arange(0, len(bank), 5))
    probe = lowzoo.evaluate.linear(
        lowzoo.load(network, size=int(better), name=f"{folder.name}"),
        data=TrainTestData(few, queries),
        features=["own"],
        weight_decay=[_PENALTY],
    )
    return found | {"linear": probe.top1}


def _photographs(bank: ImageSource, folder: Path) -> Path:
    """The training images as files, as the peers read them; without classes, which no side may see."""
    from PIL import Image

    done = folder.with_suffix(".done")
    if not done.exists():
        (folder / "all").mkdir(parents=True, exist_ok=True)
        for number in range(len(bank)):
            Image.fromarray(bank.pixels(number)).save(folder / "all" / f"{number:05d}.png")
        done.touch()
    return folder


def _tables(document: dict[str, Any]) -> None:
    lines = [
        "# k-NN and linear top-1 after equal minutes",
        "",
        "Written by `benchmarks/quality_per_minute.py`, which says what is compared; settings and versions of each row"
        " are in the JSON.",
        "",
    ]
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in document["rows"].values():
        groups.setdefault((row["student"], row["minutes"], row["clock"]), []).append(row)
    for student, minutes, clock in sorted(groups, key=lambda group: (list(STUDENTS).index(group[0]), *group[1:])):
        of = groups[student, minutes, clock]
        by = "by the clock" if clock == "wall" else "as processor time"
        lines += [f"## {STUDENTS[student]}, {minutes:g} minutes on two cores ({by})", "", *_compared(of), ""]
    OUT.with_suffix(".md").write_text("\n".join(lines))
    _picture(document)


def _compared(rows: list[dict[str, Any]]) -> list[str]:
    """Sides of one student and budget, and how the best of ours stand to the best of the others."""
    lines = ["| side | taught | k-NN % | linear % | steps | seeds |", "|---|---|---|---|---|---|"]
    for side in SIDES:
        if of := [row for row in rows if row["side"] == side]:
            knn, linear = (
                "/".join("-" if row[name] is None else f"{row[name]:.1f}" for row in of) for name in ("knn", "linear")
            )
            taught = "yes" if side in TAUGHT else "no"
            lines.append(f"| {side} | {taught} | {knn} | {linear} | {of[0]['steps']} | {len(of)} |")
    lines.append("")
    for taught in (True, False):
        means = {side: mean for side, mean in _means(rows).items() if (side in TAUGHT) == taught}
        ours = max((mean for side, mean in means.items() if side in OWN), default=0)
        peers = max((mean for side, mean in means.items() if side in PEERS), default=0)
        if ours and peers:
            kind = "With" if taught else "Without"
            lines.append(f"{kind} a teacher the best of ours has {ours / peers:.2f} times the best peer's k-NN.")
    untrained = [row["knn"] for row in rows if row["side"] in UNTRAINED]
    if untrained:
        most = f"Untrained networks have up to {max(untrained):.1f} %"
        lines += ["", f"{most}; what is below may have learned nothing."]
    return lines


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean k-NN of each side over its seeds."""
    of: dict[str, list[float]] = {}
    for row in rows:
        of.setdefault(row["side"], []).append(row["knn"])
    return {side: float(np.mean(of[side])) for side in SIDES if side in of}


def _picture(document: dict[str, Any]) -> None:
    """For each student k-NN over minutes, a line a side; bars while one budget alone was measured."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = document["rows"].values()
    students = [student for student in STUDENTS if any(row["student"] == student for row in rows)]
    figure, places = pyplot.subplots(
        1, len(students), figsize=(8 * len(students), 5), layout="constrained", squeeze=False
    )
    for student, axes in zip(students, places[0], strict=True):
        of = [row for row in rows if row["student"] == student]
        budgets = sorted({row["minutes"] for row in of})
        means = {minutes: _means([row for row in of if row["minutes"] == minutes]) for minutes in budgets}
        title = f"25,000 photographs, {STUDENTS[student]}"
        if len(budgets) == 1:
            sides = sorted(means[budgets[0]], key=lambda side: means[budgets[0]][side])
            bars = axes.barh(
                [f"{side}, taught" if side in TAUGHT else side for side in sides],
                [means[budgets[0]][side] for side in sides],
                color=["tab:green" if side in OWN else "tab:grey" for side in sides],
            )
            axes.bar_label(bars, fmt="%.1f", padding=3)
            axes.margins(x=0.1)
            axes.set(xlabel="k-NN top-1 (%)", title=f"{title}, {budgets[0]:g} minutes on two cores")
            continue
        for side in SIDES:
            found = {minutes: means[minutes][side] for minutes in budgets if side in means[minutes]}
            if found:
                axes.plot(list(found), list(found.values()), "o-" if side in OWN else "s--", label=side)
        axes.set(xlabel="minutes on two cores", ylabel="k-NN top-1 (%)", title=title)
        axes.legend(fontsize=8)
    figure.savefig(OUT.with_suffix(".png"), dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
