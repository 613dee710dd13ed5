"""The whole way once, on what the package brings along: create, evaluate, look, export, time."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.target import bench_host
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import BenchResult
from lowzoo.evaluate.contact_sheet import draw_neighbours
from lowzoo.evaluate.knn_protocol import TrainTestData, evaluate_knn, open_train_test
from lowzoo.evaluate.result import EvaluationResult
from lowzoo.export import Artifact, ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.features.features import extract_features
from lowzoo.io.files import writable_folder, write_text
from lowzoo.zoo.resolve import Resolved, load_model

MODEL = "rob_vit_tiny"
K = 20
# Three processes show the spread and keep the quickstart short; `lowzoo bench` takes five.
PROTOCOL = Protocol(repeats=3)


@dataclass(frozen=True)
class Summary:
    """What the quickstart found.

    Args:
        model: Name of the model with the tag of its weights.
        params: Number of parameters.
        trained: k-NN of the bundled weights.
        untrained: k-NN of the same network, randomly initialised.
        artifact: The ONNX file and its parity.
        latency: Latency of that file on this computer.
        picture: The contact sheet.
        seconds: The whole took.
    """

    model: str
    params: int
    trained: EvaluationResult
    untrained: EvaluationResult
    artifact: Artifact
    latency: BenchResult
    picture: Path
    seconds: float

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the summary."""
        bank, queries = self.trained.data["bank"], self.trained.data["queries"]
        trained, untrained = self.trained.figures[0].mean, self.untrained.figures[0].mean
        parity, timing = self.artifact.parity, self.latency.statistics
        size = self.trained.settings["preprocessing"]["input_size"][1]
        return [
            ("model", f"{self.model}, {self.params / 1e6:.2f} M parameters, {size} px"),
            ("data", f"{bank.images} drawings as bank, {queries.images} as queries, from the package"),
            (f"k-NN top-1, k = {K}", f"{trained:.1f} % (same network untrained: {untrained:.1f} %)"),
            ("nearest neighbours", str(self.picture)),
            ("ONNX", f"{self.artifact.path}, {self.artifact.size_bytes / 1e6:.1f} MB"),
            (
                "parity with PyTorch",
                f"{parity.images} images: max error {parity.max_error:.1e}, mean {parity.mean_error:.1e}, "
                f"cosine at least {parity.min_cosine:.6f}, k-NN agreement {100 * parity.knn_agreement:.0f} %",
            ),
            (
                "latency, this computer",
                f"median {timing.median_ms:.2f} ms, p90 {timing.p90_ms:.2f} ms "
                f"({self.latency.engine.name}, {self.latency.engine.threads} thread, not a phone)",
            ),
            ("time", f"{self.seconds:.0f} s"),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the raw samples of the latency stand in its own file."""
        return {
            "model": self.model,
            "params": self.params,
            "knn": {"trained": self.trained.model_dump(), "random_initialisation": self.untrained.model_dump()},
            "onnx": self.artifact.as_dict(),
            "latency": self.latency.model_dump(by_alias=True, exclude={"repeats"}),
            "picture": str(self.picture),
            "seconds": round(self.seconds, 1),
        }


def run_quickstart(out: Path, say: Callable[[str], None]) -> Summary:
    """Do every step and leave what it made in a folder.

    Args:
        out: The folder; made if it is not there.
        say: Takes a line before each step.

    Raises:
        LowzooError: The folder cannot be written to, or a step failed.
    """
    start = time.monotonic()
    writable_folder(out)
    _refuse_to_replace(out)
    say(f'1/4 create   timm.create_model("{catalog.PREFIX}{MODEL}", pretrained=True)')
    # Made as a reader would make it, so that every figure below is of the network that timm's own call gives.
    model = timm.create_model(f"{catalog.PREFIX}{MODEL}", pretrained=True)
    resolved = dataclasses.replace(load_model(MODEL), model=model.eval())
    data = open_train_test(None)
    say(f"2/4 evaluate k-NN on {len(data.bank)} + {len(data.queries)} drawings, trained and untrained")
    trained = evaluate_knn(resolved, data, ks=[K])
    untrained = evaluate_knn(load_model(MODEL, pretrained=False), data, ks=[K])
    write_text(out / "knn.json", trained.to_json())
    picture = out / "neighbours.png"
    _draw(resolved, data, picture)
    say("3/4 export   to ONNX, compared with PyTorch on real images")
    artifact = write_artifact(resolved, ExportSpec(format="onnx"), out / f"{MODEL}.onnx", force=True)
    say(f"4/4 time     on this computer, {PROTOCOL.repeats} fresh processes")
    latency = bench_host(artifact.path, protocol=PROTOCOL)
    write_text(out / "latency.json", latency.to_json())
    return Summary(
        model=resolved.name,
        params=sum(parameter.numel() for parameter in model.parameters()),
        trained=trained,
        untrained=untrained,
        artifact=artifact,
        latency=latency,
        picture=picture,
        seconds=time.monotonic() - start,
    )


def _refuse_to_replace(out: Path) -> None:
    """Refuse, before any work, a folder that holds another file of the name that the export takes."""
    file = out / f"{MODEL}.onnx"
    if file.exists() and not FORMATS["onnx"].notes(file).get("lowzoo.model", "").startswith(f"{MODEL}."):
        raise LowzooError(f"{file} exists and is not of a quickstart", "Name another folder with --out")


def _draw(resolved: Resolved, data: TrainTestData, picture: Path) -> None:
    # Both come from the cache that the evaluation has just filled.
    bank, queries = extract_features(resolved, data.bank), extract_features(resolved, data.queries)
    title = f"{resolved.name}: one drawing of each class and its nearest neighbours (cosine similarity)"
    draw_neighbours(data.bank, bank, data.queries, queries, picture, title=title)
