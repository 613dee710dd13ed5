"""Files of feature maps: parity of each output with PyTorch, and `lowzoo check` on each file.

    python benchmarks/feature_maps.py [--models resnet18 ...] [--cells onnx:int8 ...] [--out FILE.json]

Cells are added to what FILE.json holds, so that formats whose packages want different versions of torch are measured
one after the other; FILE.md is the table that a person reads. A cell that fails says why; one whose format has no
package here is left as it is, and said.

- The networks and their weights are those of export_matrix.py. Each is written to a folder, and the files are made from
  that folder, as a user's are: what `lowzoo check` resolves is what the file says of itself.
- "timm" is the largest difference, on a photograph, between the maps that lowzoo exports and those of
  `timm.create_model(..., features_only=True, out_indices=...)` with the same weights, both in PyTorch: it has to be 0
  up to the order of additions.
- A random network that is quantised has to keep a mean cosine of 0.99 in every map, a trained one may lose 1 k-NN
  point.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import documents
import timm
import torch
from export_matrix import model_of
from timm.models import save_for_hf

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import this_device
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.checking import check_artifact
from lowzoo.export.formats import FORMATS, Format
from lowzoo.export.network.features import with_features
from lowzoo.export.parity.checker import real_images
from lowzoo.export.spec.spec import Features
from lowzoo.preprocess.transform import preprocess
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved, load_model

OUT = Path(__file__).parent / "results" / "feature_maps.json"
MODELS: dict[str, tuple[str, Features]] = {
    "mobilenetv2": ("mobilenetv2_100", (2, 3, 4)),
    "resnet18": ("resnet18", (2, 3, 4)),
    "vit_tiny": ("vit_tiny_patch16_224", (5, 11)),
}
_FORMATS = ("onnx", "coreml", "executorch", "litert")
CELLS = tuple(f"{format_}:{precision}" for format_ in _FORMATS for precision in ("fp32", "fp16", "int8"))
COLUMNS = ("MB", "export s", "output", "shape", "rel. error", "min cosine", "mean cosine", "k-NN lost", "check")


def beside_timm(resolved: Resolved, architecture: str) -> float:
    """Largest difference of a map from timm's own `features_only` with the same weights."""
    indices = [each.index for each in resolved.features]
    torch.manual_seed(1)
    theirs = timm.create_model(
        architecture, features_only=True, out_indices=indices, **_size(architecture, resolved)
    ).eval()
    own = {key.removeprefix("network."): value for key, value in resolved.model.state_dict().items()}
    names = {key: key.removeprefix("model.") for key in theirs.state_dict()}
    theirs.load_state_dict({key: own[name] for key, name in names.items()})
    x = preprocess(real_images(1)[0], resolved)[None]
    with torch.inference_mode():
        pairs = zip(resolved.model(x), theirs(x), strict=True)
        return max(float((ours - found).abs().max()) for ours, found in pairs)


def _size(architecture: str, resolved: Resolved) -> dict[str, Any]:
    return {"img_size": resolved.input_size[1:]} if architecture.startswith("vit") else {}


def measure(name: str, folder: Path, trained: bool, cell: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One cell; on failure its reason."""
    format_, precision = cell.split(":")
    spec = ExportSpec(
        format=format_,
        precision=precision,
        max_loss=MaxLoss(1.0) if trained else MaxLoss(None, 0.99),
        features=MODELS[name][1],
    )
    path = folder.parent / f"{name}-{precision}{FORMATS[format_].suffix}"
    facts = documents.circumstances()
    start = time.perf_counter()
    try:
        artifact = write_artifact(str(folder), spec, path)
    except LowzooError as error:
        return facts | {"refused": error.message}
    taken = time.perf_counter() - start
    report = check_artifact(path)
    return facts | {
        "mb": artifact.size_bytes / 1e6,
        "export_s": taken,
        "engine": artifact.parity.engine,
        "images": artifact.parity.images,
        "warnings": artifact.warnings,
        "outputs": [
            {
                "name": each.name,
                "shape": each.shape,
                "relative_error": parity.relative_error,
                "min_cosine": parity.min_cosine,
                "mean_cosine": parity.mean_cosine,
                "knn_agreement": parity.knn_agreement,
                "knn_lost": parity.knn_loss,
            }
            for each, parity in zip(artifact.features, artifact.parity.outputs, strict=True)
        ],
        "check": {"same_weights": report.same_weights, "broken": report.broken, "outputs": len(report.parity.outputs)},
    }


def table(document: dict[str, Any]) -> str:
    """The document as markdown."""
    device = document["machine"]
    lines = [
        "# Feature maps",
        "",
        f"Made by `benchmarks/feature_maps.py` at 224 px on {device['cpu']}, one thread. What each column means stands "
        "in the script; images, load and versions stand in the JSON file. The maps differ from those of timm's own "
        "`features_only` with the same weights, in PyTorch, by at most "
        + ", ".join(f"{facts['timm']:.1e} ({name})" for name, facts in document["models"].items())
        + ".",
        "",
        f"| model | weights | format | precision | {' | '.join(COLUMNS)} |",
        "|---" * (4 + len(COLUMNS)) + "|",
    ]
    for name, facts in document["models"].items():
        for cell, found in sorted(facts["cells"].items(), key=lambda item: CELLS.index(item[0])):
            start = f"| {name} | {facts['weights']} | {cell.replace(':', ' | ')} |"
            if "refused" in found:
                lines.append(f"{start} refused: {found['refused']} |" + " |" * (len(COLUMNS) - 1))
                continue
            checked = found["check"]
            kept = "; ".join(checked["broken"]) or "kept"
            check = f"{kept}, weights {'same' if checked['same_weights'] else 'NOT the same'}"
            for i, each in enumerate(found["outputs"]):
                file = f" {found['mb']:.2f} | {found['export_s']:.0f} |" if not i else "  |  |"
                lost = "" if each["knn_lost"] is None else f"{each['knn_lost']:+.2f}"
                lines.append(
                    f"{start}{file} {each['name']} | {' x '.join(map(str, each['shape']))} | "
                    f"{each['relative_error']:.1e} | {each['min_cosine']:.6f} | {each['mean_cosine']:.6f} | {lost} | "
                    f"{check if not i else ''} |"
                )
    return "\n".join(lines) + "\n"


def _missing(format_: Format) -> str:
    try:
        for distribution in format_.needs:
            require(distribution, format_.extra)
    except LowzooError as error:
        return error.message
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--cells", nargs="+", default=list(CELLS))
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    document = documents.read(arguments.out, {"models": {}})
    document |= {"script": "benchmarks/feature_maps.py", "machine": this_device().model_dump()}
    with tempfile.TemporaryDirectory() as place:
        for name in arguments.models:
            architecture, features = MODELS[name]
            plain = model_of(name, 224, {})
            folder = Path(place) / f"{name}-folder"
            config = {**plain.model.pretrained_cfg, "input_size": plain.input_size, "num_classes": 0}
            save_for_hf(plain.model, folder, model_config={"pretrained_cfg": config}, safe_serialization=True)
            resolved = with_features(load_model(str(folder)), features)
            facts = document["models"].setdefault(name, {"cells": {}})
            facts |= {
                "weights": plain.revision if plain.trained else "random",
                "features": features,
                "timm": beside_timm(resolved, architecture),
            }
            for cell in arguments.cells:
                if missing := _missing(FORMATS[cell.partition(":")[0]]):
                    print(name, cell, f"left out: {missing}", flush=True)
                    continue
                found = measure(name, folder, plain.trained, cell, arguments)
                facts["cells"][cell] = found | {"versions": documents.versions()}
                print(name, cell, found, flush=True)
                documents.write(arguments.out, document, table)


if __name__ == "__main__":
    main()
