"""The table of exports: every model in every format and precision, with size, time, parity and latency on this machine.

    python benchmarks/export_matrix.py --size 128 --out matrix.md

Models without weights at hand are random (seed 0), which the table says: their errors are real, their k-NN
points are those of random features. A cell that fails says why. Latency is the median of --runs runs by turns with the
fp32 file of the same model, batch 1, one thread, and is only there where the runtime is.
"""

import argparse
import json
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from lowzoo.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, export
from lowzoo.resolve import Resolved, load_model

MODELS = {
    "rob_vit_tiny": "bundled weights",
    "vit_tiny_patch16_224": "random",
    "resnet18": "random",
    "resnet34": "random",
    "mobilenetv2_100": "random",
    "mobilenetv3_large_100": "random",
    "efficientnet_b0": "random",
}
CELLS = (
    ("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"),
    ("coreml", "fp32"), ("coreml", "fp16"), ("coreml", "int8"), ("coreml", "palette6"), ("coreml", "palette4"),
    ("executorch", "fp32"),
)  # fmt: skip
HEAD = "| model | format | precision | MB | export s | mean cosine | max error | k-NN lost | host ms | fp32 / this |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--cells", nargs="+", default=[f"{f}:{p}" for f, p in CELLS])
    parser.add_argument("--size", type=int, help="side in pixels; the weights' own if absent")
    parser.add_argument("--max-loss", default="1.0")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("export_matrix.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = [_machine(arguments.size), "", HEAD, "|" + "---|" * HEAD.count(" | ") + "---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            random = MODELS[name] == "random"
            resolved = load_model(name, image_size=arguments.size, pretrained=not random)
            for cell in arguments.cells:
                row = _row(name, resolved, cell, Path(folder), arguments)
                lines.append(row)
                print(row, flush=True)
                # After every cell, because a sweep takes long and may be stopped.
                arguments.out.write_text("\n".join(lines) + "\n")


def _row(name: str, resolved: Resolved, cell: str, folder: Path, arguments: argparse.Namespace) -> str:
    format_, precision = cell.split(":")
    label = f"| {name}{'' if resolved.trained else ' (random)'} | {format_} | {precision} "
    suffix = {"onnx": "onnx", "coreml": "mlpackage", "executorch": "pte"}[format_]
    path = folder / f"{name}-{precision}.{suffix}"
    start = time.perf_counter()
    try:
        spec = ExportSpec(
            format=format_, precision=precision, size=arguments.size, max_loss=MaxLoss.parse(arguments.max_loss)
        )
        artifact = export(resolved, spec, path)
    except LowzooError as error:
        return f"{label}| refused: {error.message} |"
    seconds, parity = time.perf_counter() - start, artifact.parity
    lost = "" if parity.knn_loss is None else f"{parity.knn_loss:+.2f}"
    milliseconds, ratio = (
        _latency(folder / f"{name}-fp32.onnx", path, arguments.runs) if format_ == "onnx" else ("", "")
    )
    return (
        f"{label}| {artifact.size_bytes / 1e6:.2f} | {seconds:.1f} | {parity.mean_cosine:.6f} | {parity.max_error:.1e} "
        f"| {lost} | {milliseconds} | {ratio} |"
    )


def _latency(exact: Path, path: Path, runs: int) -> tuple[str, str]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    names = [exact, path] if exact.exists() else [path]
    sessions = [onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]) for file in names]
    taken = sessions[0].get_inputs()[0]
    feed = {taken.name: np.random.default_rng(0).integers(0, 256, taken.shape, dtype=np.uint8)}
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(runs + 5):
        for session, found in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(None, feed)
            found.append(1e3 * (time.perf_counter() - start))
    medians = [float(np.median(found[5:])) for found in times]
    return f"{medians[-1]:.2f}", f"{medians[0] / medians[-1]:.2f}" if len(medians) > 1 else ""


def _machine(size: int | None) -> str:
    versions = {name: version(name) for name in ("torch", "timm", "onnxruntime", "coremltools", "numpy")}
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return f"Input {size or 'as trained'} px. {cpu}, one thread. {json.dumps(versions)}"


def _cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


if __name__ == "__main__":
    main()
