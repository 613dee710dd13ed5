"""One index, every runtime: each format and precision of a network, its bank asked by the queries of every other.

    python benchmarks/cross_matrix.py --work DIR --export      once in each environment: writes the files it can
    python benchmarks/cross_matrix.py --work DIR               where most runtimes are: asks every bank

Packages that convert to LiteRT and to ExecuTorch want different versions of torch, so that no environment makes all
files; to run them, each has a runtime that needs no torch or takes any. A file that is there is not made again. What a
browser computes is a table of `cross_browser.py`. Beside them a copy of the fp32 ONNX file is written with one weight
changed, and the second matrix has it: its pairs have to break, and to name it. FILE.md is what a person reads.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import documents
import onnx
from onnx import numpy_helper

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import this_device
from lowzoo.export import cross_check, export
from lowzoo.export.cross import CrossReport
from lowzoo.export.formats import FORMATS
from lowzoo.system.installed import require

OUT = Path(__file__).parent / "results" / "cross_matrix.json"
PLANTED = "planted.onnx"
RUNTIMES = {
    "onnx": "onnxruntime",
    "coreml": "coremltools",
    "executorch": "executorch",
    "litert": "ai_edge_litert",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "mnn": "MNN",
}
# A core of other runtimes that agree, so that the one that does not is told by all pairs.
BESIDE_PLANTED = ("onnx-fp32", "openvino-fp32", "coreml-fp32")


def write_files(model: str, work: Path) -> None:
    """Every format and precision whose packages are here."""
    for name in FORMATS:
        facts = FORMATS[name]
        try:
            for distribution in facts.needs:
                require(distribution, facts.extra)
        except LowzooError as error:
            print(f"{name} is left out: {error}", flush=True)
            continue
        for precision in facts.precisions:
            file = work / f"{name}-{precision}{facts.suffix}"
            if file.exists() or file.with_suffix(".refused").exists():
                continue
            try:
                export(model, format=name, precision=precision, out=file)
                print(file, flush=True)
            except LowzooError as error:
                # Remembered beside the files, as the environment that asks is another.
                file.with_suffix(".refused").write_text(error.message)
                print(f"{file.name} is refused: {error}", flush=True)


def plant(file: Path, out: Path) -> str:
    """A copy of an ONNX file with the largest weight of its last product negated; returns which."""
    document = onnx.load(file)
    by_name = {each.name: each for each in document.graph.initializer}
    products = [each for each in document.graph.node if each.op_type in ("Conv", "Gemm", "MatMul")]
    node = [each for each in products if any(name in by_name for name in each.input)][-1]
    name = next(name for name in node.input if name in by_name)
    values = numpy_helper.to_array(by_name[name]).copy()
    place = abs(values).argmax()
    values.flat[place] *= -1
    by_name[name].CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(document, out)
    return f"{name}[{place}]"


def files_of(work: Path) -> list[Path]:
    """The files of all formats, in the order of formats and precisions, where their runtime is here."""
    found = []
    for name in FORMATS:
        facts = FORMATS[name]
        for precision in facts.precisions:
            file = work / f"{name}-{precision}{facts.suffix}"
            if file.exists() and find_spec(RUNTIMES[name]):
                found.append(file)
            elif file.exists():
                print(f"{file.name} is not asked: {RUNTIMES[name]} is not installed", flush=True)
    # Of a browser: see cross_browser.py.
    return [*found, *sorted(work.glob("*.parquet"))]


def asked(files: list[Path], model: str) -> CrossReport:
    """The matrix of these files and PyTorch, printed."""
    report = cross_check(files, against=model)
    print(report, flush=True)
    return report


def page(document: dict[str, Any]) -> str:
    """The document as markdown."""
    lines = ["# One index, every runtime", ""]
    lines += [f"Made by `benchmarks/cross_matrix.py` on {document['machine']['cpu']}. Rows are banks, columns queries."]
    for model, found in document["models"].items():
        lines += ["", f"## {model}", "", "```text", found["matrix"], "```"]
        lines += [f"- {name} was refused: {reason}" for name, reason in found["refused"].items()]
        lines += ["", f"With one weight changed ({found['planted']}):", "", "```text", found["planted_matrix"], "```"]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the files")
    parser.add_argument("--models", nargs="+", default=["rob_vit_tiny"])
    parser.add_argument("--export", action="store_true", help="write the files that this environment can")
    arguments = parser.parse_args()
    document = documents.read(OUT, {"models": {}}) | {"machine": this_device().model_dump()}
    for model in arguments.models:
        work = arguments.work / model
        work.mkdir(parents=True, exist_ok=True)
        if arguments.export:
            write_files(model, work)
            continue
        which = plant(work / "onnx-fp32.onnx", work / PLANTED)
        beside = [file for file in files_of(work) if file.stem in BESIDE_PLANTED]
        matrix, planted = asked(files_of(work), model), asked([*beside, work / PLANTED], model)
        if not planted.broken:
            raise SystemExit("the file with a changed weight was not found")
        document["models"][model] = {
            "matrix": str(matrix),
            "pairs": matrix.as_dict(),
            "refused": {file.stem: file.read_text() for file in sorted(work.glob("*.refused"))},
            "planted": which,
            "planted_matrix": str(planted),
            "versions": documents.versions(),
        }
        documents.write(OUT, document, page)


if __name__ == "__main__":
    main()
