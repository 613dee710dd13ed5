"""What `lowzoo export --format onnx` adds to a bare `torch.onnx.export` of the same network, parity apart.

    python benchmarks/export_time.py [--model vit_tiny_patch16_224] [--rounds 5] [--out FILE.json]

Both run by turns in one process, after one of each to warm up, and write a file: ours with its copy of the network,
normalisation in the graph, metadata, check of the graph and digest; theirs by torch's defaults (dynamo) at the same
operator set. The ratio is that of the medians.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lowzoo.base.quiet import quiet
from lowzoo.bench.host.machine import this_device
from lowzoo.export import ExportSpec
from lowzoo.export.artifacts.places import atomic_place, digest_of
from lowzoo.export.formats.onnx.writer import write_onnx
from lowzoo.export.network.graph import exported_module
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.io.files import write_text
from lowzoo.zoo.resolve import load_model

OUT = Path(__file__).parent / "results" / "export_time.json"
BOUND = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    resolved = load_model(arguments.model, pretrained=False)
    spec, checker = ExportSpec(), ParityChecker(resolved)
    example = (torch.zeros(1, *resolved.input_size),)
    seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[what].append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x.onnx"
        for _ in range(arguments.rounds + 1):
            with timed("bare torch.onnx.export"), quiet():
                torch.onnx.export(
                    resolved.model, example, str(place), dynamo=True, opset_version=spec.opset, external_data=False
                )
            with timed("lowzoo, parity apart"):
                with timed("of that, the copy of the network"):
                    module = exported_module(resolved, spec)
                with timed("of that, tracing, metadata, check and file"), atomic_place(place, folder=False) as path:
                    write_onnx(module, resolved, spec, path, checker)
                with timed("of that, the digest"):
                    digest_of(place)
    medians = {what: statistics.median(found[1:]) for what, found in seconds.items()}
    ratio = medians["lowzoo, parity apart"] / medians["bare torch.onnx.export"]
    document = {
        "script": "benchmarks/export_time.py",
        "machine": this_device().model_dump(),
        "torch": torch.__version__,
        "load_average": os.getloadavg()[0],
        "model": resolved.name,
        "seconds": {what: [round(value, 3) for value in found[1:]] for what, found in seconds.items()},
        "medians": {what: round(value, 3) for what, value in medians.items()},
        "ratio": round(ratio, 3),
        "bound": BOUND,
        "kept": ratio <= BOUND,
    }
    write_text(arguments.out, json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
