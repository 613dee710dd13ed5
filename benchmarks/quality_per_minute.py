"""What each trainer makes of the same photographs in the same minutes: k-NN and a linear probe.

    python benchmarks/quality_per_minute.py --data tiny-imagenet-100 --work DIR --peers PYTHON --paces [--student S]
    python benchmarks/quality_per_minute.py --data tiny-imagenet-100 --work DIR --peers PYTHON
        [--minutes 5 20] [--seeds 1] [--only SIDE ...] [--student S]
    python benchmarks/quality_per_minute.py --tables

25,000 photographs (every second of tiny-imagenet-100's training images, 64 px), one student, one machine of two cores.
`lowzoo-*` are `lowzoo train ... --minutes M` with no other option than the student; `lowzoo-rob-sslight` is RoB with
the views that SSLight's defaults have. `--peers` is a Python with lightly-train and lightly; what its sides are stands
in `quality_per_minute_peers.py`. lightly-train's distillation is not among them: its teachers are DINOv2 and DINOv3
networks alone, and cannot be had without a network; plain distillation from the bundled teacher, a loop of our own with
our initialisation, optimiser and rate, stands in its place.

How many steps a side makes in M minutes is measured first, by the clock and on both cores, while nothing else runs:
`--paces` takes the seconds of each whole command before its first step (imports, loading, fitting) and of a step, ours
from a run of two minutes with its monitors and writing. Rows are then trained for so many steps on one thread, whatever
else the machine does, which changes no weight.

Every student is judged alike: k-NN (k = 20) with 10,000 of the photographs as bank and 1,667 others as queries, which
no setting of ours was chosen on, at 64 and at 96 px, on timm's feature and on its pooled feature map where that is
another; the best counts. The linear probe takes 5,000 of the bank at that, with one penalty. The teacher was trained
with labels on ImageNet, which has these photographs too. Rows that are there are not measured again. Results:
results/quality_per_minute.json, .md and .png.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import documents
import numpy as np
import timm
import torch
from safetensors.torch import save_file
from tiny_imagenet_part import part
from torch import Tensor, nn

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
# Steps of a trial of the peers, and minutes of one of ours.
_TIMED, _TRIAL_MINUTES = 25, 2.0
# A ratio of two networks' k-NN is named where both ours and an untrained one, and the two, differ by so many errors.
_SURE = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the parquet files")
    parser.add_argument("--work", type=Path, help="photographs and run folders")
    parser.add_argument("--peers", default="python", help="a Python with lightly-train and lightly")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 20])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=SIDES, metavar="SIDE")
    parser.add_argument("--student", choices=list(STUDENTS), default=next(iter(STUDENTS)))
    parser.add_argument("--paces", action="store_true", help="measure what steps take; nothing else may run")
    parser.add_argument("--tables", action="store_true", help="write table and picture alone")
    words = parser.parse_args()
    if words.tables:
        _tables(documents.read(OUT))
        return
    if not words.data or not words.work:
        parser.error("--data and --work are needed")
    bank = part(words.data, "train", np.arange(0, 50_000, 2))
    folder = _photographs(bank, words.work / "photographs")
    document = documents.read(OUT, {"paces": {}, "rows": {}})
    if words.paces:
        for side in (side for side in words.only if side not in UNTRAINED):
            found = _pace(side, words, bank, folder)
            document = documents.read(OUT, {"paces": {}, "rows": {}})
            document["paces"].setdefault(words.student, {})[side] = found | documents.circumstances()
            documents.write(OUT, document)
            print(words.student, side, found, flush=True)
        return
    torch.set_num_threads(1)
    # Settings of ours were chosen on every third of the validation images.
    numbers = np.arange(5_000)
    queries = part(words.data, "validation", numbers[(numbers % 2 == 1) & (numbers % 3 != 0)])
    for minutes in words.minutes:
        for seed in range(words.seeds):
            for side in words.only:
                key = _key(side, minutes, seed, words)
                if key in document["rows"]:
                    continue
                trained = words.work / key / "trained.json"
                if not trained.exists():
                    steps = 0 if side in UNTRAINED else _steps(document["paces"], side, minutes, words.student)
                    documents.write(trained, _row(side, minutes, seed, steps, words, bank, folder))
                row = documents.read(trained) | _judged(words.work / key, words.student, bank, queries)
                row |= {
                    "side": side,
                    "minutes": 0 if side in UNTRAINED else minutes,
                    "seed": seed,
                    "student": words.student,
                }
                document = documents.read(OUT)
                document["rows"][key] = row | documents.circumstances() | {"cores": os.cpu_count()}
                documents.write(OUT, document)
                print(key, {name: row[name] for name in ("knn", "linear", "steps")}, flush=True)
    _tables(document)


def _key(side: str, minutes: float, seed: int, words: argparse.Namespace) -> str:
    """Name of a row and of its folder; the first student's go without its name."""
    student = "" if words.student == next(iter(STUDENTS)) else f"-{words.student}"
    length = "" if side in UNTRAINED else f"-{minutes:g}min"
    return f"{side}{length}-{seed}{student}"


def _steps(paces: Mapping[str, Any], side: str, minutes: float, student: str) -> int:
    if side not in paces.get(student, {}):
        raise SystemExit(f"nobody knows yet what a step of {side} on {student} takes: run with --paces")
    pace = paces[student][side]
    return int((60 * minutes - pace["before"]) / pace["pace"])


def _pace(side: str, words: argparse.Namespace, bank: ImageSource, folder: Path) -> dict[str, float]:
    """Seconds of the command before its first step, and of a step; ours has its monitors and writing in the steps."""
    out = words.work / "paces" / f"{side}-{words.student}-{time.time():.0f}"
    out.mkdir(parents=True)
    if side not in OWN:
        told = _told(words, side, bank, folder, out, steps=_TIMED, seed=0) | {"threads": os.cpu_count(), "workers": 2}
        found = _peer(words, side, told | {"began": time.time()})
        return {"before": round(found["before"], 2), "pace": round(found["pace"], 4)}
    run = {"data": str(folder), "student": words.student, "out": str(out / "run"), "minutes": _TRIAL_MINUTES}
    if views := _views(side):
        run["views"] = views
    code = "import json, sys, lowzoo; getattr(lowzoo.train, sys.argv[1])(**json.loads(sys.argv[2]))"
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, side.split("-")[1], json.dumps(run)], check=True)
    spent = time.perf_counter() - began
    facts = documents.read(out / "run" / "run.json")
    working = facts["steps"] * facts["batch_size"] / facts["images_per_s"]
    return {
        "before": round(spent - working, 2),
        "pace": round(working / facts["steps"], 4),
        "steps": facts["steps"],
        "spent": round(spent, 1),
    }


def _row(
    side: str, minutes: float, seed: int, steps: int, words: argparse.Namespace, bank: ImageSource, folder: Path
) -> dict[str, Any]:
    """Train one side, and leave its student in its folder as weights.pth."""
    out = words.work / _key(side, minutes, seed, words)
    out.mkdir(parents=True, exist_ok=True)
    if side in UNTRAINED:
        torch.save(_start(side, words.student, bank, seed).state_dict(), out / "weights.pth")
        return {"steps": 0, "images": 0, "versions": {"timm": timm.__version__}}
    if side in OWN:
        return _own(side, minutes, seed, steps, words, bank, out)
    told = _told(words, side, bank, folder, out, steps=steps, seed=seed) | {
        "threads": 1,
        "workers": 0,
        "began": time.time(),
    }
    found = _peer(words, side, told)
    return {"steps": steps, "given": found}


def _start(side: str, student: str, bank: ImageSource, seed: int) -> nn.Module:
    """An untrained student, as timm or as we make it."""
    if side == "untrained":
        torch.manual_seed(seed)
        return timm.create_model(student, num_classes=0)
    config = _chosen("rob", bank, [f"student={student}", f"seed={seed}", "minutes=5"])
    torch.manual_seed(seed)
    return create_student(resolve(config, settings=[f"student={student}", f"seed={seed}", "minutes=5"]))


def _views(side: str) -> str | None:
    return "sslight" if side == "lowzoo-rob-sslight" else None


def _chosen(recipe: str, bank: ImageSource, settings: list[str], views: str | None = None) -> dict[str, Any]:
    named = named_fields(settings=settings)
    return choose(look(recipe, bank, named, 1), named | {"view_preset": views}).fields


def _told(
    words: argparse.Namespace, side: str, bank: ImageSource, folder: Path, out: Path, *, steps: int, seed: int
) -> dict[str, Any]:
    """What a peer has to know; plain distillation gets rate and precision of ours."""
    teacher = words.work / "teacher.safetensors"
    if not teacher.exists():
        save_file(lowzoo.load(TEACHER).model.state_dict(), teacher)
    ours = _chosen("rob", bank, [f"student={words.student}", "minutes=5"])
    start = words.work / f"start-{words.student}-{seed}.pth"
    if side == "plain-distillation" and not start.exists():
        torch.save(_start("lowzoo-untrained", words.student, bank, seed).state_dict(), start)
    return {
        "folder": str(folder),
        "images": len(bank),
        "out": str(out / "weights.pth"),
        "student": words.student,
        "steps": steps,
        "seed": seed,
        "bf16": ours["precision"] == "bf16",
        "lr": ours["lr"],
        "start": str(start),
        "teacher": str(teacher),
        "teacher_architecture": "mobilenetv2_100",
        "teacher_size": ours["teacher_size"],
    }


def _peer(words: argparse.Namespace, side: str, told: Mapping[str, Any]) -> dict[str, Any]:
    script = Path(__file__).with_name("quality_per_minute_peers.py")
    done = subprocess.run(
        [words.peers, str(script), side, json.dumps(told)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _own(
    side: str, minutes: float, seed: int, steps: int, words: argparse.Namespace, bank: ImageSource, out: Path
) -> dict[str, Any]:
    from lowzoo.train.monitoring.progress import Progress
    from lowzoo.train.runs.loop import Run

    recipe, run = side.split("-")[1], out / "run"
    resume = (run / "config.toml").exists()
    if resume:
        config = resolve((), run / "config.toml")
    else:
        settings = [f"student={words.student}", f"seed={seed}"]
        fields = _chosen(recipe, bank, [*settings, f"minutes={minutes}"], _views(side))
        more = [f"steps={steps}", "monitor_epochs=0", "workers=0", "log=none", "device=cpu"]
        config = resolve(fields, settings=[*settings, *more])
    result = Run(config, bank, None, run, resume=resume).train(Progress())
    assert result is not None
    torch.save(lowzoo.load(run).model.state_dict(), out / "weights.pth")
    versions = {"torch": torch.__version__, "lowzoo": lowzoo.__version__}
    images = steps * config.batch_size
    return {"steps": steps, "images": images, "config": (run / "config.toml").read_text(), "versions": versions}


class Pooled(nn.Module):
    """The mean over a network's last feature map, (B, 3, S, S) to (B, C)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        # From here `lowzoo.load` takes how pictures are prepared.
        self.pretrained_cfg = network.pretrained_cfg

    def forward(self, images: Tensor) -> Tensor:
        """See above."""
        maps: Tensor = self.network.forward_features(images)
        return maps.mean((2, 3))


def _judged(folder: Path, student: str, bank: ImageSource, queries: ImageSource) -> dict[str, Any]:
    """k-NN by size and feature, and the linear probe at the best."""
    network = timm.create_model(student, num_classes=0)
    weights = torch.load(folder / "weights.pth", weights_only=True)
    wanted = network.state_dict().keys()
    missing = [name for name in wanted if name not in weights]
    assert not missing, missing
    network.load_state_dict({name: weights[name] for name in wanted})
    many = bank.subset(np.flatnonzero(np.arange(len(bank)) % 5 < 2))
    features: dict[str, nn.Module] = {"timm's": network}
    with torch.inference_mode():
        images = torch.rand(2, 3, SIDE, SIDE)
        if not torch.equal(network.eval()(images), Pooled(network)(images)):
            features["pooled map"] = Pooled(network)
    knns = {
        (name, size): lowzoo.evaluate.knn(
            lowzoo.load(made, size=size, name=folder.name), data=TrainTestData(many, queries), k=20
        ).top1
        for name, made in features.items()
        for size in EVALUATED
    }
    name, size = max(knns, key=lambda key: knns[key])
    few = bank.subset(np.arange(0, len(bank), 5))
    probe = lowzoo.evaluate.linear(
        lowzoo.load(features[name], size=size, name=folder.name),
        data=TrainTestData(few, queries),
        features=["own"],
        weight_decay=[_PENALTY],
    )
    return {
        "knn": knns[name, size],
        "knn_by": {f"{name}, {size} px": value for (name, size), value in knns.items()},
        "queries": len(queries),
        "linear": probe.top1,
    }


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
        " are in the JSON. lowzoo's sides and the loops of lightly's parts train ResNet-18 in bf16, lightly-train in"
        " fp32, as it chooses.",
        "",
    ]
    rows = document["rows"].values()
    for student, title in STUDENTS.items():
        untrained = [row for row in rows if row["student"] == student and row["side"] in UNTRAINED]
        trained = [row for row in rows if row["student"] == student and row["side"] not in UNTRAINED]
        for minutes in sorted({row["minutes"] for row in trained}):
            of = [row for row in trained if row["minutes"] == minutes]
            lines += [f"## {title}, {minutes:g} minutes on two cores", "", *_compared([*untrained, *of]), ""]
    OUT.with_suffix(".md").write_text("\n".join(lines))
    _picture(document)


def _compared(rows: list[dict[str, Any]]) -> list[str]:
    """Sides of one student and budget, and how the best of ours stand to the best of the others."""
    lines = ["| side | taught | k-NN % | linear % | steps | seeds |", "|---|---|---|---|---|---|"]
    for side in SIDES:
        if of := sorted((row for row in rows if row["side"] == side), key=lambda row: row["seed"]):
            knn, linear = (_mean_and_spread([row[name] for row in of]) for name in ("knn", "linear"))
            taught = "yes" if side in TAUGHT else "no"
            lines.append(f"| {side} | {taught} | {knn} | {linear} | {of[0]['steps']} | {len(of)} |")
    lines.append("")
    means = _means(rows)
    untrained = [means[side] for side in UNTRAINED if side in means]
    for taught in (True, False):
        kind = "With" if taught else "Without"
        if missing := [side for side in (*OWN, *PEERS) if (side in TAUGHT) == taught and side not in means]:
            lines.append(f"{kind} a teacher these sides are still to be measured: {', '.join(missing)}.")
            continue
        ours = _best(means, OWN, taught=taught)
        peers = _best(means, PEERS, taught=taught)
        if not ours or not peers or not untrained:
            continue
        queries, floor = rows[0]["queries"], max(untrained)
        if not _differ(means[ours], floor, queries) or means[ours] < floor:
            lines.append(f"{kind} a teacher no side of ours is beyond chance better than an untrained network.")
        elif not _differ(means[ours], means[peers], queries):
            lines.append(f"{kind} a teacher {ours} and {peers}, the best other, do not differ beyond chance.")
        else:
            times = f"{means[ours] / means[peers]:.2f} times that of {peers}, the best other"
            lines.append(f"{kind} a teacher the k-NN of {ours} is {times}.")
    return lines


def _mean_and_spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def _differ(one: float, other: float, queries: int) -> bool:
    """Whether two accuracies differ by more than chance explains."""
    return abs(one - other) > _SURE * math.hypot(_error(one, queries), _error(other, queries))


def _error(knn: float, queries: int) -> float:
    """Sampling error of an accuracy, both in per cent."""
    return 100 * math.sqrt(knn / 100 * (1 - knn / 100) / queries)


def _best(means: Mapping[str, float], sides: tuple[str, ...], *, taught: bool) -> str | None:
    of = [side for side in sides if side in means and (side in TAUGHT) == taught]
    return max(of, key=lambda side: means[side], default=None)


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean k-NN of each side over its seeds."""
    of: dict[str, list[float]] = {}
    for row in rows:
        of.setdefault(row["side"], []).append(row["knn"])
    return {side: float(np.mean(of[side])) for side in SIDES if side in of}


def _picture(document: dict[str, Any]) -> None:
    """k-NN over minutes: a row of pictures a student, with a teacher and without, a line a side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = document["rows"].values()
    students = [student for student in STUDENTS if any(row["student"] == student for row in rows)]
    if not students:
        return
    colours = dict(zip((*OWN, *PEERS), pyplot.get_cmap("tab20").colors, strict=False))
    figure, places = pyplot.subplots(
        len(students), 2, figsize=(11, 4.2 * len(students)), layout="constrained", squeeze=False
    )
    for student, pair in zip(students, places, strict=True):
        of = [row for row in rows if row["student"] == student]
        untrained = [mean for side, mean in _means(of).items() if side in UNTRAINED]
        for taught, axes in zip((True, False), pair, strict=True):
            for side in (side for side in (*OWN, *PEERS) if (side in TAUGHT) == taught):
                found = {
                    minutes: _means([row for row in of if row["minutes"] == minutes]).get(side)
                    for minutes in sorted({row["minutes"] for row in of if row["side"] not in UNTRAINED})
                }
                shown = {minutes: mean for minutes, mean in found.items() if mean is not None}
                if shown:
                    style = "o-" if side in OWN else "s--"
                    axes.plot(list(shown), list(shown.values()), style, label=side, color=colours[side])
            for mean in untrained:
                axes.axhline(mean, color="tab:grey", linewidth=1, linestyle=":")
            kind = "with a teacher" if taught else "without a teacher"
            axes.set(xlabel="minutes on two cores", ylabel="k-NN top-1 (%)", ylim=(0, None))
            axes.set_title(f"{STUDENTS[student]}, {kind}; dotted: untrained", fontsize=10)
            axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(OUT.with_suffix(".png"), dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
