"""The table format x precision x model: size, parity, time on this machine, and each refusal with its reason.

    python benchmarks/formats_table.py [--models ...] [--cells openvino:fp32 ...] [--pictures N] [--again]
    python benchmarks/formats_table.py --join OTHER.json ...      takes the cells that are missing from other results

A row that FILE.json holds already is not made again (unless `--again`), so that the script may be ended and started as
often as one likes, and run in several environments one after the other: formats whose packages want different versions
of torch have none in common. A format that is not installed leaves its rows as they are. FILE.md is the table that a
person reads.

Networks are those of `export_matrix.py`: vit_tiny has the bundled weights, mobilenetv2 those of a package where that is
installed, the rest are random with lively batch norms. k-NN points are measured, and bound int8, where there are
weights; a random network has to keep a mean cosine of 0.99. Latency is a median of up to 20 single runs in one thread,
of a machine that is shared: the load stands in the JSON file.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import documents
import export_matrix
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import this_device
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.every import host_ms
from lowzoo.export.formats import FORMATS
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.system.installed import require

OUT = Path(__file__).parent / "results" / "formats_table.json"
MODELS = ("vit_tiny", "mobilenetv2", "mobilenetv3_large", "resnet18", "efficientnet_b0", "convnext_atto", "fastvit_t8")
CELLS = tuple(f"{name}:{precision}" for name in FORMATS for precision in FORMATS[name].precisions)
COLUMNS = ("MB", "export s", "rel. error", "min cosine", "mean cosine", "k-NN lost", "ms")


def is_here(name: str) -> bool:
    try:
        for distribution in FORMATS[name].needs:
            require(distribution, FORMATS[name].extra)
    except LowzooError as error:
        print(f"{name} is left out: {error}", flush=True)
        return False
    return True


def measure(checker: ParityChecker, cell: str, folder: Path) -> dict[str, Any]:
    """One cell; on failure its reason."""
    name, _, precision = cell.partition(":")
    resolved = checker.resolved
    loss = MaxLoss(1.0) if resolved.trained else MaxLoss(None, 0.99)
    facts = documents.circumstances()
    start = time.perf_counter()
    try:
        spec = ExportSpec(format=name, precision=precision, max_loss=loss)
        artifact = write_artifact(resolved, spec, folder / f"x{FORMATS[name].suffix}", checker)
    except LowzooError as error:
        return facts | {"refused": error.message}
    parity = artifact.parity
    return facts | {
        "mb": artifact.size_bytes / 1e6,
        "export_s": time.perf_counter() - start,
        "relative_error": parity.relative_error,
        "min_cosine": parity.min_cosine,
        "mean_cosine": parity.mean_cosine,
        "knn_lost": parity.knn_loss,
        "knn_images": parity.knn_images,
        "images": parity.images,
        "engine": parity.engine,
        "warnings": artifact.warnings,
        "ms": host_ms(artifact, resolved),
    }


def join(cells: dict[str, Any], others: dict[str, Any], file: Path) -> None:
    """Take the cells of the same weights that are missing, each with its own date, versions and number of pictures."""
    for name in MODELS:
        rows = cells.setdefault(name, {})
        for cell, facts in others.get(name, {}).items():
            same = not rows or facts["weights"] in {each["weights"] for each in rows.values()}
            if cell in CELLS and cell not in rows and same:
                rows[cell] = facts | ({"from": "export_matrix.json"} if file.stem == "export_matrix" else {})


def table(document: dict[str, Any]) -> str:
    """The document as markdown."""
    lines = [
        "# Formats",
        "",
        f"Made by `benchmarks/formats_table.py` on {document['machine']['cpu']}, one thread, a shared machine: the "
        "load average of each cell, the versions and the number of pictures stand in the JSON file. What each column "
        "means stands in the script. A cell that is not here was not measured; those of `export_matrix.json` keep "
        "their date.",
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
    return [
        f"{facts['mb']:.2f}",
        f"{facts['export_s']:.0f}",
        f"{facts['relative_error']:.1e}",
        f"{facts['min_cosine']:.6f}",
        f"{facts['mean_cosine']:.6f}",
        "" if facts["knn_lost"] is None else f"{facts['knn_lost']:+.2f}",
        "" if facts["ms"] is None else f"{facts['ms']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--size", type=int, default=224, help="side in pixels")
    parser.add_argument("--pictures", type=int, default=28, help="that every file is run on, beside four photographs")
    parser.add_argument("--knn-pictures", type=int, default=512, help="for the k-NN points")
    parser.add_argument("--again", action="store_true", help="make rows anew that are there")
    parser.add_argument("--join", type=Path, nargs="+", help="results of this script or of export_matrix.py")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    document = documents.read(arguments.out, {"cells": {}})
    document |= {"size": arguments.size, "machine": this_device().model_dump()}
    if arguments.join:
        for file in arguments.join:
            join(document["cells"], documents.read(file, {"cells": {}})["cells"], file)
        documents.write(arguments.out, document, table)
        return
    here = {name for name in {cell.partition(":")[0] for cell in arguments.cells} if is_here(name)}
    for name in arguments.models:
        rows = document["cells"].setdefault(name, {})
        wanted = [
            cell for cell in arguments.cells if cell.partition(":")[0] in here and (arguments.again or cell not in rows)
        ]
        if not wanted:
            continue
        checker = ParityChecker(
            export_matrix.model_of(name, arguments.size, {}),
            knn_pictures=arguments.knn_pictures,
            pictures=arguments.pictures,
        )
        weights = checker.resolved.revision if checker.resolved.trained else "random"
        for cell in wanted:
            with tempfile.TemporaryDirectory() as folder:
                facts = measure(checker, cell, Path(folder))
            rows[cell] = facts | {"weights": weights, "versions": documents.versions()}
            print(name, cell, rows[cell], flush=True)
            documents.write(arguments.out, document, table)


if __name__ == "__main__":
    main()
