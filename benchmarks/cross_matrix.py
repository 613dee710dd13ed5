"""One index, every runtime: each format and precision of a network, its bank asked by the queries of every other.

    python benchmarks/cross_matrix.py --work DIR --export      once in each environment: writes the files it can
    python benchmarks/cross_matrix.py --work DIR               where most runtimes are: asks every bank

Packages that convert to LiteRT and to ExecuTorch want different versions of torch, so that no environment makes all
files; to run them, each has a runtime that needs no torch or takes any. A file that is there is not made again. What a
browser computes is a table of `cross_browser.py`. Beside them copies with one weight changed are asked, and their pairs
have to break and to name them: of the fp32 ONNX file one whose features a bound of values finds and one whose features
none does, and of every other file one with a bit of a byte in its middle flipped. FILE.md is what a person reads.
"""

import argparse
import dataclasses
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import documents
import onnx
from onnx import numpy_helper

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import this_device
from lowzoo.export import cross_check, export
from lowzoo.export.artifacts.places import tree
from lowzoo.export.cross import CrossReport, cross
from lowzoo.export.cross_tables import SUFFIX as TABLE_SUFFIX
from lowzoo.export.formats import FORMATS
from lowzoo.system.installed import require

OUT = Path(__file__).parent / "results" / "cross_matrix.json"
# What is added to a weight, in standard deviations of its layer; None negates it.
PLANTED = {"planted.onnx": None, "planted-small.onnx": 0.1}
_FEW = 64  # pictures: what is looked for is no matter of their number
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


def plant(file: Path, out: Path, by: float | None) -> str:
    """A copy of an ONNX file with one weight of its last product changed; returns which.

    Args:
        file: The file.
        out: The copy.
        by: Standard deviations of the product's weights that are added to its largest one; None negates it.
    """
    document = onnx.load(file)
    by_name = {each.name: each for each in document.graph.initializer}
    products = [each for each in document.graph.node if each.op_type in ("Conv", "Gemm", "MatMul")]
    node = [each for each in products if any(name in by_name for name in each.input)][-1]
    name = next(name for name in node.input if name in by_name)
    values = numpy_helper.to_array(by_name[name]).copy()
    place = abs(values).argmax()
    values.flat[place] = -values.flat[place] if by is None else values.flat[place] + by * values.std()
    by_name[name].CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(document, out)
    return f"{name}[{place}] {'negated' if by is None else f'moved by {by:g} standard deviations of its layer'}"


def flip(file: Path, folder: Path) -> Path:
    """A copy of an artifact with the lowest bit of one byte in the middle of its largest file flipped."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if file.is_dir():
        shutil.copytree(file, folder / file.name)
    else:
        for each in tree(file):
            shutil.copy(each, folder / each.name)
    copy = folder / file.name
    largest = max(tree(copy), key=lambda each: each.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(bytes(data))
    return copy


def found(file: Path, folder: Path, beside: Path) -> str:
    """What `check --cross` says of a file with a flipped bit beside a sound one.

    Raises:
        SystemExit: Nothing.
    """
    try:
        report = cross([beside, flip(file, folder)], images=_FEW, bound=100)
    except LowzooError as error:
        return f"refused: {error.message.replace(str(folder), folder.name)}"
    if len(report.broken) != len(report.pairs):
        raise SystemExit(f"a flipped bit of {file} was not found")
    return "; ".join(dict.fromkeys(words for pair in report.broken for words in pair.broken))


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
    # Which folder they lay in is nobody's business.
    members = tuple(dataclasses.replace(one, name=Path(one.name).name) for one in report.members)
    report = dataclasses.replace(report, members=members)
    print(report, flush=True)
    return report


def page(document: dict[str, Any]) -> str:
    """The document as markdown."""
    lines = ["# One index, every runtime", ""]
    lines += [f"Made by `benchmarks/cross_matrix.py` on {document['machine']['cpu']}. Rows are banks, columns queries."]
    for model, found in document["models"].items():
        lines += ["", f"## {model}", "", "```text", found["matrix"], "```"]
        lines += [f"- {name} was refused: {reason}" for name, reason in found["refused"].items()]
        for which, planted in found["planted"].items():
            lines += ["", f"With one weight changed ({which}):", "", "```text", planted, "```"]
        lines += ["", "One bit flipped in the middle of a file, asked beside the fp32 ONNX file:", ""]
        lines += ["| file | found by |", "| --- | --- |"]
        lines += [f"| {name} | {words} |" for name, words in found["flipped"].items()]
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
        files, planted = files_of(work), {}
        beside = [file for file in files if file.stem in BESIDE_PLANTED]
        for name, by in PLANTED.items():
            which, report = plant(work / "onnx-fp32.onnx", work / name, by), asked([*beside, work / name], model)
            if not report.broken:
                raise SystemExit(f"the file with {which} was not found")
            planted[which] = str(report)
        flipped = {
            file.name: found(file, work / "flipped", work / "onnx-fp32.onnx")
            for file in files
            if file.suffix != TABLE_SUFFIX and file.stem != "onnx-fp32"
        }
        matrix = asked(files, model)
        document["models"][model] = {
            "matrix": str(matrix),
            "pairs": matrix.as_dict(),
            "refused": {file.stem: file.read_text() for file in sorted(work.glob("*.refused"))},
            "planted": planted,
            "flipped": flipped,
            "versions": documents.versions(),
        }
        documents.write(OUT, document, page)


if __name__ == "__main__":
    main()
