"""k-NN top-1 that ONNX files of the bundled weights lose on a data set that they were not calibrated on.

    python benchmarks/export_knn.py --data DIR [--bank 10000] [--queries 2000] [--out FILE.json]

DIR holds tiny-imagenet-100 as parquet, columns image and label. The bank is an even part of its training images, the
queries are one of its validation images; k = 20, cosine, T = 0.07, at the size that the weights were trained for. The
int8 file is exported as `lowzoo export --precision int8` does it: calibrated and searched on the sample set alone, so
that what it loses here is what it loses on pictures nobody showed it. --calibrate-on-data calibrates on DIR instead.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from lowzoo.bench.host.machine import this_device
from lowzoo.data.source import ImageSource, open_source
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats.onnx.runtime import open_onnx
from lowzoo.export.parity.checker import spread
from lowzoo.export.parity.runnable import Array, Runnable, rows_of
from lowzoo.features.votes import TEMPERATURE
from lowzoo.io.files import write_text
from lowzoo.zoo.resolve import Resolved, load_model

OUT = Path(__file__).parent / "results" / "export_knn.json"
K = 20
BOUND = 1.0


def features(
    artifacts: list[Runnable], resolved: Resolved, source: ImageSource, count: int
) -> tuple[list[Array], np.ndarray]:
    """Rows by each artifact of an even part of a set, and its labels."""
    chosen = spread(len(source), count)
    rows: list[list[Array]] = [[] for _ in artifacts]
    for start in range(0, len(chosen), 500):
        images = [source.pixels(i) for i in chosen[start : start + 500]]
        for artifact, found in zip(artifacts, rows, strict=True):
            found.append(rows_of(artifact, images, resolved))
    return [np.concatenate(found) for found in rows], source.require_labels()[chosen]


def top1(bank: Array, labels: np.ndarray, queries: Array, wanted: np.ndarray) -> float:
    """Accuracy in %, votes weighted by exp(cosine / 0.07)."""
    unit = [torch.nn.functional.normalize(torch.from_numpy(rows).double(), dim=1) for rows in (bank, queries)]
    values, indices = (unit[1] @ unit[0].T).topk(K, dim=1)
    votes = torch.zeros(len(queries), int(labels.max()) + 1, dtype=torch.double)
    votes.scatter_add_(1, torch.from_numpy(labels)[indices], (values / TEMPERATURE).exp())
    return 100 * float((votes.argmax(1).numpy() == wanted).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="tiny-imagenet-100 as parquet")
    parser.add_argument("--model", default="rob_vit_tiny")
    parser.add_argument("--bank", type=int, default=10000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--calibrate-on-data", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    resolved = load_model(arguments.model)
    bank, queries = open_source(arguments.data, "train"), open_source(arguments.data, "validation")
    figures, warnings = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        artifacts = []
        for precision in ("fp32", "fp16", "int8"):
            spec = ExportSpec(precision=precision, calibration=arguments.data if arguments.calibrate_on_data else None)
            made = write_artifact(resolved, spec, Path(folder) / f"{precision}.onnx")
            warnings[precision] = made.warnings
            artifacts.append(open_onnx(made.path))
        bank_rows, labels = features(artifacts, resolved, bank, arguments.bank)
        query_rows, wanted = features(artifacts, resolved, queries, arguments.queries)
        for precision, rows, asked in zip(("fp32", "fp16", "int8"), bank_rows, query_rows, strict=True):
            figures[precision] = round(top1(rows, labels, asked, wanted), 3)
    document = {
        "script": "benchmarks/export_knn.py",
        "machine": this_device().model_dump(),
        "load_average": os.getloadavg()[0],
        "model": f"{resolved.name} at {resolved.input_size[1]} px",
        "data": f"tiny-imagenet-100, bank {len(labels)}, queries {len(wanted)}",
        "protocol": f"k = {K}, cosine, T = {TEMPERATURE}",
        "calibration": "the same data" if arguments.calibrate_on_data else "the sample set",
        "top1": figures,
        "lost": {name: round(figures["fp32"] - value, 3) for name, value in figures.items()},
        "bound_kept": figures["fp32"] - figures["int8"] <= BOUND,
        "warnings": warnings,
    }
    write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
