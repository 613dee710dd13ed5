"""How much faster int8 is than fp32 in onnxruntime, by architecture, within the bound of loss.

    python benchmarks/int8_speed.py [--models mobilenetv3_large_100 ...] [--weights NAME=DIR ...] [--size 224]
        [--runs 100] [--rounds 3] [--before FOLDER] [--out FILE.json]

- Each model is exported as fp32 and as int8 by `lowzoo export`'s own function. `--weights` names run or model folders,
  whose int8 files are bound by 1.0 k-NN points; the rest is random, with batch norms as in export_matrix.py, and has to
  keep a mean cosine of --cosine.
- Both run in one process, batch 1, one thread, by turns; each of --rounds gives the ratio of the medians of --runs. The
  middle ratio stands in the table, with the smallest and the largest. Only ratios are meant to be quoted.
- `--before FOLDER` holds int8 files MODEL.onnx of another version, which run in the same turns.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import documents
import numpy as np
import onnx
import onnxruntime
import torch
from export_matrix import enliven

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import this_device
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.zoo.resolve import Resolved, load_model

OUT = Path(__file__).parent / "results" / "int8_speed.json"
MODELS = (
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
    "mobilenetv2_100",
    "mnasnet_100",
    "efficientnet_b0",
    "lcnet_100",
    "ghostnet_100",
    "resnet18",
)
COLUMNS = ("fp32 / int8", "least", "most", "before", "mean cosine", "k-NN lost", "products in float")


def model_of(name: str, size: int, weights: dict[str, str]) -> Resolved:
    """Real weights where they are named, a lively random network otherwise."""
    if name in weights:
        return load_model(weights[name], image_size=size)
    resolved = load_model(name, image_size=size, pretrained=False)
    enliven(resolved)
    return resolved


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ratios(paths: list[Path], size: int, runs: int, rounds: int) -> list[list[float]]:
    """For each file but the first, the ratio of the first one's median time to its own, a round each."""
    sessions = [session(path) for path in paths]
    feed = {"image": np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)}
    found: list[list[float]] = [[] for _ in paths[1:]]
    for _ in range(rounds):
        times: list[list[float]] = [[] for _ in paths]
        for _ in range(runs + 5):
            for each, taken in zip(sessions, times, strict=True):
                start = time.perf_counter()
                each.run(None, feed)
                taken.append(time.perf_counter() - start)
        exact, *others = (statistics.median(taken[5:]) for taken in times)
        for ratio, other in zip(found, others, strict=True):
            ratio.append(exact / other)
    return found


def operators(path: Path, folder: Path) -> dict[str, int]:
    """What onnxruntime makes of a file, node by node: what stays in floats shows here."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node))


def measure(name: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    resolved = model_of(name, arguments.size, arguments.weights)
    loss = MaxLoss(1.0) if name in arguments.weights else MaxLoss(None, arguments.cosine)
    exact, small = folder / f"{name}.fp32.onnx", folder / f"{name}.int8.onnx"
    facts: dict[str, Any] = {"weights": resolved.revision, **documents.circumstances()}
    try:
        write_artifact(resolved, ExportSpec(size=arguments.size), exact)
        spec = ExportSpec(size=arguments.size, precision="int8", max_loss=loss)
        artifact = write_artifact(resolved, spec, small, ParityChecker(resolved))
    except LowzooError as error:
        return facts | {"refused": error.message}
    before = arguments.before / f"{name}.onnx" if arguments.before else None
    paths = [exact, small, *([before] if before and before.exists() else [])]
    found = ratios(paths, arguments.size, arguments.runs, arguments.rounds)
    notes = {entry.key: entry.value for entry in onnx.load(small).metadata_props}
    return facts | {
        "speed_up": sorted(found[0]),
        "before": sorted(found[1]) if len(found) > 1 else None,
        "mean_cosine": artifact.parity.mean_cosine,
        "knn_lost": artifact.parity.knn_loss,
        "float_products": int(notes["lowzoo.int8_float_nodes"]),
        "operators": operators(small, folder),
        "warnings": artifact.warnings,
    }


def table(document: dict[str, Any]) -> str:
    """The document as markdown."""
    machine = document["machine"]
    lines = [
        "# int8 beside fp32 in onnxruntime",
        "",
        f"Made by `benchmarks/int8_speed.py` at {document['size']} px on {machine['cpu']}, one thread, with "
        f"{', '.join(sorted(machine['isa']))}, onnxruntime {onnxruntime.__version__}. What each column means stands in "
        "the script; the load average of each row stands in the JSON file.",
        "",
        "| model | weights | " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * (len(COLUMNS) + 2),
    ]
    for name, facts in document["models"].items():
        start = f"| {name} | {facts['weights']} | "
        if "refused" in facts:
            lines.append(f"{start}refused: {facts['refused']} |" + " |" * (len(COLUMNS) - 1))
            continue
        found, before, lost = facts["speed_up"], facts["before"], facts["knn_lost"]
        values = (
            f"{statistics.median(found):.2f}",
            f"{found[0]:.2f}",
            f"{found[-1]:.2f}",
            f"{statistics.median(before):.2f}" if before else "",
            f"{facts['mean_cosine']:.4f}",
            "" if lost is None else f"{lost:+.2f}",
            str(facts["float_products"]),
        )
        lines.append(start + " | ".join(values) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="timm's names")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=DIR", help="run or model folders")
    parser.add_argument("--size", type=int, default=224, help="side in pixels")
    parser.add_argument("--cosine", type=float, default=0.9, help="that a random network has to keep")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="int8 files of another version, MODEL.onnx")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.weights = dict(named.split("=", 1) for named in arguments.weights)
    torch.set_num_threads(1)
    document = documents.read(arguments.out, {"models": {}})
    document |= {"size": arguments.size, "machine": this_device().model_dump()}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            document["models"][name] = measure(name, arguments, Path(folder))
            print(name, document["models"][name], flush=True)
            documents.write(arguments.out, document, table)


if __name__ == "__main__":
    main()
