"""k-NN of networks that nothing has trained: what their batch norms do to it, and what zero residual branches mend.

    python benchmarks/untrained_norms.py --data tiny-imagenet-100

An untrained network's batch norms hold 0 and 1 and do nothing. The first tens of training steps give them the
statistics of pictures, whatever is trained; this script gives them those alone, by 512 of the training images in
batches of 128, and no weight changes. On the embedded sample set and on 5,000 photographs (every 10th of
tiny-imagenet-100's training images as bank, 1,667 of its validation images as queries) at 64 px, k = 20. Result:
results/untrained_norms.json and .md.
"""

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import documents
import numpy as np
import timm
import torch
from tiny_imagenet_part import part
from torch import nn

from lowzoo.catalog import student_architecture
from lowzoo.data.source import open_set
from lowzoo.train.monitoring.monitor import KnnMonitor, load_squares
from lowzoo.train.networks.residual import zero_residual_branches
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD

OUT = Path(__file__).parent / "results" / "untrained_norms.json"
STUDENTS = ("mobilenetv2", "mobilenetv3_large", "efficientnet_b0", "resnet18")
SIDE, PICTURES, BATCH = 64, 512, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the parquet files")
    data = parser.parse_args().data
    drawings = open_set(None)
    sets = {
        "drawings": (drawings.open("train"), drawings.open("validation")),
        "photographs": (
            part(data, "train", np.arange(0, 50_000, 10)),
            part(data, "validation", np.arange(0, 5_000, 3)),
        ),
    }
    document = documents.read(OUT, {"rows": {}})
    for images, (bank, queries) in sets.items():
        monitor = KnnMonitor(bank, queries, SIDE, len(bank), len(queries))
        pictures, _ = load_squares(bank, PICTURES, SIDE)
        for student in STUDENTS:
            key = f"{images}-{student}"
            if key in document["rows"]:
                continue
            row: dict[str, Any] = {"images": images, "student": student}
            for zero in (False, True):
                torch.manual_seed(0)
                network = timm.create_model(student_architecture(student, "rob"), num_classes=0)
                branches = zero_residual_branches(network) if zero else 0
                name = "zero_branches" if zero else "timm"
                row[name] = _knn(monitor, network)
                _set_statistics(network, pictures)
                row[f"{name}_with_statistics"] = _knn(monitor, network)
            row["branches"] = branches
            document["rows"][key] = row | documents.circumstances() | {"cores": os.cpu_count()}
            documents.write(OUT, document | {"versions": documents.versions()}, _table)
            print(row, flush=True)


def _knn(monitor: KnnMonitor, network: nn.Module) -> float:
    return round(monitor.measure(network, torch.device("cpu"), nullcontext)[0], 2)


@torch.no_grad()
def _set_statistics(network: nn.Module, pictures: torch.Tensor) -> None:
    """The mean over the batches' statistics, as `momentum=None` has it."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (IMAGENET_MEAN, IMAGENET_STD))
    network.train()
    for batch in pictures.split(BATCH):
        network((batch.float() - mean) / std)


def _table(document: dict[str, Any]) -> str:
    lines = [
        "# k-NN top-1 (%) of untrained networks",
        "",
        "Written by `benchmarks/untrained_norms.py`, which says how.",
        "",
        "| images | student | as timm makes it | its norms with statistics | branches at zero | with statistics |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['images']} | {row['student']} | {row['timm']} | {row['timm_with_statistics']} | "
        f"{row['zero_branches'] if row['branches'] else '-'} | "
        f"{row['zero_branches_with_statistics'] if row['branches'] else '-'} |"
        for row in document["rows"].values()
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
