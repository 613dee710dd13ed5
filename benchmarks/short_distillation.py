"""Why plain distillation learns more in few steps than lowzoo's recipes: what a step teaches, one change at a time.

    python benchmarks/short_distillation.py --data tiny-imagenet-100 --work DIR --peers PYTHON [--steps 350]
        [--student S] [--only NAME ...]

`quality_per_minute.py` found that a loop of a few lines, the cosine to the teacher's embedding through a linear map,
leaves RoB and SEED behind on ResNet-18. Here all make the same number of steps, with the student, photographs and
teacher of that comparison, on one thread beside other work; `plain` is its loop. k-NN (k = 20) at 64 px, with 10,000 of
the photographs as bank and 1,667 others as queries, those on which settings may be chosen. Rows that are there are not
measured again. Results: results/short_distillation.json.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import documents
import numpy as np
import quality_per_minute as comparison
import timm
import torch
from tiny_imagenet_part import part
from torch import nn

import lowzoo
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.knn_protocol import TrainTestData
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

OUT = Path(__file__).parent / "results" / "short_distillation.json"
_NO_COLOURS = ("view.global.jitter_p=0", "view.global.gray=0")
_COLOURS = ("view.global.jitter_p=0.8", "view.global.gray=0.1")
_LINEAR = ("student_head.layers=1",)
_MLP = ("student_head.layers=2",)
# Recipe and what is set over the former settings: changes of colour, and an MLP of two layers before RoB's prototypes.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rob": ("rob", (*_COLOURS, *_MLP)),
    "rob, no changes of colour": ("rob", (*_NO_COLOURS, *_MLP)),
    "rob, no changes of colour, linear head": ("rob", (*_NO_COLOURS, *_LINEAR)),
    "seed": ("seed", _COLOURS),
    "seed, no changes of colour": ("seed", _NO_COLOURS),
}
PLAIN = "plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the parquet files")
    parser.add_argument("--work", type=Path, required=True, help="photographs and run folders")
    parser.add_argument("--peers", default="python", help="a Python with torch, torchvision and timm")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--only", nargs="+", choices=(*ROWS, PLAIN), default=(*ROWS, PLAIN), metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bank = part(args.data, "train", np.arange(0, 50_000, 2))
    queries = part(args.data, "validation", np.arange(0, 5_000, 3))
    many = bank.subset(np.flatnonzero(np.arange(len(bank)) % 5 < 2))
    for name in args.only:
        key = f"{args.student}: {name}"
        if key in documents.read(OUT, {"rows": {}})["rows"]:
            continue
        out = args.work / f"{args.student}-{name.replace(', ', '-').replace(' ', '_')}-{args.steps}"
        began = time.perf_counter()
        network = _plain(args, bank, out) if name == PLAIN else _own(name, args, bank, out)
        model = lowzoo.load(network, size=comparison.SIDE, name=name)
        knn = lowzoo.evaluate.knn(model, data=TrainTestData(many, queries), k=20).top1
        row: dict[str, Any] = {"knn": knn, "steps": args.steps, "set": ROWS[name][1] if name in ROWS else ()}
        document = documents.read(OUT, {"rows": {}})
        document["rows"][key] = row | documents.circumstances()
        documents.write(OUT, document)
        print(key, knn, f"{time.perf_counter() - began:.0f} s", flush=True)


def _own(name: str, args: argparse.Namespace, bank: ImageSource, out: Path) -> nn.Module:
    recipe, changes = ROWS[name]
    base = [f"student={args.student}", "seed=0"]
    fields = comparison._chosen(recipe, bank, [*base, "minutes=5"])
    more = [f"steps={args.steps}", "monitor_epochs=0", "workers=0", "log=none", "device=cpu"]
    Run(resolve(fields, settings=[*base, *more, *changes]), bank, None, out).train(Progress())
    return lowzoo.load(out).model


def _plain(args: argparse.Namespace, bank: ImageSource, out: Path) -> nn.Module:
    out.mkdir(parents=True, exist_ok=True)
    folder = comparison._photographs(bank, args.work / "photographs")
    told = comparison._told(args, "plain-distillation", bank, folder, out, steps=args.steps, seed=0)
    comparison._peer(args, "plain-distillation", told | {"threads": 1, "workers": 0, "began": time.time()})
    network = timm.create_model(args.student, num_classes=0)
    weights = torch.load(out / "weights.pth", weights_only=True)
    network.load_state_dict({key: weights[key] for key in network.state_dict()})
    return network


if __name__ == "__main__":
    main()
