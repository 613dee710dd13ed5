"""Which of timm's families export to which format: one architecture a family, every format, parity enforced.

    nice -n 15 python benchmarks/export_families.py [--format onnx coreml ...] [--only FAMILY ...] [--again]
        [--out FILE.json]
    python benchmarks/export_families.py --tables

A family is a module of timm's model folder. Of its classification backbones below 30 M parameters the one with the
fewest multiply-accumulates at its own input size is tried; `test_*` networks are left out. Each export is a process of
its own, one after the other, with --limit seconds and --memory GB (seconds are of processor time, here and in the
table: the machine may be shared), in fp32 with pixels as input and --pictures pictures
beside the four photographs; a row is written as it is measured, and rows that are there are not measured again (but
--again measures those that are not ok). Formats whose packages want different versions of torch are measured one after
the other, each in its environment.

Weights are random (seed 0), by timm's initialisation but for what it leaves at one number throughout, as a branch that
is multiplied by 0 or 1e-6 would hide its errors: gains and layer scales are drawn from 0.5 to 1.5, what is 0 (biases,
position embeddings, gates) from a normal distribution of deviation 0.02, and batch norms have the statistics of
pictures. Where float32 itself is then too coarse (PyTorch against its own float64), the network is tried again as timm
initialises it, with those statistics alone, and the row says so ("weights": "as timm has them").

--tables writes, from FILE.json alone, FILE.md for people and `lowzoo/catalog/families.toml`, which `lowzoo info` and
`lowzoo export` read; so does every row.
"""

import argparse
import contextlib
import importlib
import json
import math
import multiprocessing
import os
import re
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import documents
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import this_device
from lowzoo.export.network.reasons import reason_alone
from lowzoo.io.files import write_text
from lowzoo.zoo.resolve import Resolved, load_model

ROOT = Path(__file__).parent.parent
OUT = ROOT / "benchmarks" / "results" / "export_families.json"
DATA = ROOT / "lowzoo" / "catalog" / "families.toml"
FORMATS = ("onnx", "coreml", "executorch", "litert", "openvino", "ncnn", "mnn")
PACKAGES = ("torch", "timm", "onnxruntime", "coremltools", "executorch", "litert-torch", "openvino", "ncnn", "MNN")
LARGEST = 30e6
MARK = "RESULT "
MARKED = r" \*"


def chosen() -> dict[str, dict[str, Any]]:
    """For each family the architecture that is tried, with its parameters and multiply-accumulates."""
    import timm
    from timm.models._registry import _model_to_module
    from torch.utils.flop_counter import FlopCounterMode

    best: dict[str, dict[str, Any]] = {}
    for name in timm.list_models(exclude_filters=["test_*"]):
        family = _model_to_module[name]
        best.setdefault(family, {})
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = timm.create_model(name, num_classes=0).eval().requires_grad_(False)
            count = sum(parameter.numel() for parameter in network.parameters())
            if count >= LARGEST:
                continue
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                size = network.pretrained_cfg["input_size"]
                if network(torch.zeros(1, *size)).ndim != 2:
                    continue
        gmacs = counter.get_total_flops() / 2e9
        if gmacs < best[family].get("gmacs", math.inf):
            best[family] = {"architecture": name, "params": count, "gmacs": round(gmacs, 4), "input_size": size}
    return dict(sorted(best.items()))


def enliven(resolved: Resolved, *, gains: bool) -> None:
    """Let every branch count, see above; without new gains only batch norms get their statistics."""
    from lowzoo.export.parity.checker import real_images
    from lowzoo.preprocess.transform import preprocess

    generator = torch.Generator().manual_seed(0)
    for name, parameter in resolved.model.named_parameters() if gains else ():
        first = parameter.flatten()[0].item()
        if not (parameter == first).all():
            continue
        is_gain = first == 1 or (0 < first < 0.2) or (first == 0 and name.endswith(("weight", "gain", "gamma")))
        with torch.no_grad():
            if is_gain:
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif first == 0:
                parameter.normal_(0, 0.02, generator=generator)
    norms = [module for module in resolved.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        resolved.model(torch.stack([preprocess(image, resolved) for image in real_images(12)]))
    for norm in norms:
        norm.eval()


def export_one(architecture: str, format_: str, pictures: int) -> dict[str, Any]:
    """Export in this process; once more with calmer weights where the network itself is at fault."""
    row = _export_one(architecture, format_, pictures, gains=True)
    if "unstable in float32" not in row.get("reason", ""):
        return row
    return _export_one(architecture, format_, pictures, gains=False) | {"weights": "as timm has them"}


def _export_one(architecture: str, format_: str, pictures: int, *, gains: bool) -> dict[str, Any]:
    from lowzoo.export import ExportSpec
    from lowzoo.export.artifact import write_artifact
    from lowzoo.export.formats import FORMATS as DECLARED
    from lowzoo.export.parity.checker import ParityChecker

    resolved = load_model(architecture, pretrained=False)
    enliven(resolved, gains=gains)
    checker = ParityChecker(resolved, pictures=pictures)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{DECLARED[format_].suffix}"
        start = time.process_time()
        try:
            artifact = write_artifact(resolved, ExportSpec(format=format_), path, checker)
        except LowzooError as error:
            return {"status": "refused", "reason": error.message, "seconds": time.process_time() - start}
    parity = artifact.parity
    return {
        "status": "ok",
        "seconds": time.process_time() - start,
        "mb": artifact.size_bytes / 1e6,
        "relative_error": parity.relative_error,
        "min_cosine": parity.min_cosine,
        "images": parity.images,
        "engine": parity.engine,
    }


def measured(architecture: str, format_: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Export in a process of its own, which has torch and the converter from this one."""
    _import_converter(format_)
    with tempfile.TemporaryFile("w+") as said:
        child = multiprocessing.get_context("fork").Process(
            target=_say_one, args=(architecture, format_, arguments.pictures, said.fileno())
        )
        child.start()
        assert child.pid is not None
        reason = ""
        while child.is_alive():
            if _seconds_of(child.pid) > arguments.limit:
                reason = f"it takes more than {arguments.limit} s"
            elif _memory_of(child.pid) > arguments.memory:
                reason = f"it takes more than {arguments.memory} GB of memory"
            if reason:
                child.kill()
            child.join(0.2)
        said.seek(0)
        lines = said.read().splitlines()
    if reason:
        return {
            "status": "timed out" if "GB" not in reason else "refused",
            "reason": reason,
            "seconds": arguments.limit,
        }
    for line in reversed(lines):
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return found
    last = lines[-1] if lines else "it says nothing"
    return {"status": "refused", "reason": f"the process ended with {child.exitcode} ({last[:200]})"}


def _import_converter(format_: str) -> None:
    """Import once what takes each export ten seconds."""
    names = {
        "onnx": ["onnxscript", "onnxruntime"],
        "coreml": ["coremltools"],
        "executorch": ["executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner"],
        "litert": ["litert_torch", "ai_edge_litert.interpreter"],
    }
    for name in ["timm", "torch.export", *names.get(format_, [])]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _say_one(architecture: str, format_: str, pictures: int, file: int) -> None:
    os.dup2(file, 1)
    os.dup2(file, 2)
    print(MARK + json.dumps(export_one(architecture, format_, pictures)), flush=True)


def _seconds_of(pid: int) -> float:
    """Seconds of processor time that a process has taken; 0 when it is gone, or where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_of(pid: int) -> float:
    """GB that a process has in memory; 0 when it is gone, or where the system does not tell."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1e6 if found else 0.0


def table(document: dict[str, Any]) -> str:
    """The document as markdown."""
    rows, families = document["rows"], document["families"]
    machine = document["machine"]
    lines = [
        "# Families of timm and formats",
        "",
        f"Made by `benchmarks/export_families.py` on {machine['cpu']}, one export at a time, fp32, pixels as input; "
        "what is tried of a family, and with which weights, stands in the script. A cell is the processor time of "
        "export and parity check in seconds, and the largest error of a feature over the largest feature, or the "
        "number of the reason below. Cells that are empty were not measured. Those with a star were measured with the "
        "weights as timm has them: with those that let every branch count, PyTorch itself is too coarse in float32.",
        "",
        "| format | families tried | exported with parity | versions |",
        "|---|---|---|---|",
    ]
    for format_ in FORMATS:
        tried = [rows[family][format_] for family in families if format_ in rows.get(family, {})]
        if tried:
            good = sum(row["status"] == "ok" for row in tried)
            versions = ", ".join(f"{name} {value}" for name, value in tried[-1]["versions"].items())
            lines.append(f"| {format_} | {len(tried)} | {good} ({100 * good / len(tried):.0f} %) | {versions} |")
    measured_formats = [format_ for format_ in FORMATS if any(format_ in row for row in rows.values())]
    reasons: dict[str, int] = {}
    body = []
    for family, facts in families.items():
        if not facts:
            continue
        cells = [_cell(rows.get(family, {}).get(format_), reasons) for format_ in measured_formats]
        start = f"| {family} | {facts['architecture']} | {facts['params'] / 1e6:.1f} | {facts['gmacs']:.2f} | "
        body.append(start + " | ".join(cells) + " |")
    without = [family for family, facts in families.items() if not facts]
    lines += [
        "",
        "| family | tried | M parameters | GMAC | " + " | ".join(measured_formats) + " |",
        "|" + "---|" * (4 + len(measured_formats)),
        *body,
        "",
        f"Without a classification backbone below {LARGEST / 1e6:.0f} M parameters: {', '.join(without) or 'none'}.",
        "",
        *(f"{number}. {reason}" for reason, number in reasons.items()),
        "",
    ]
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None, reasons: dict[str, int]) -> str:
    if row is None:
        return ""
    if row["status"] == "ok":
        return f"{row['seconds']:.0f} s, {row['relative_error']:.0e}{MARKED if 'weights' in row else ''}"
    return f"no ({reasons.setdefault(reason_alone(row['reason']), len(reasons) + 1)})"


def data(document: dict[str, Any]) -> str:
    """What the package reads, as TOML."""
    lines = ["# Written by benchmarks/export_families.py; what the columns mean stands there."]
    for family, facts in document["families"].items():
        rows = document["rows"].get(family)
        if not facts or not rows:
            continue
        lines += ["", f"[{family}]", f"tried = {json.dumps(facts['architecture'])}"]
        for format_ in FORMATS:
            if row := rows.get(format_):
                result = "ok" if row["status"] == "ok" else reason_alone(row["reason"])
                lines.append(f"{format_} = {json.dumps(result)}")
    return "\n".join([*lines, ""])


def write_tables(document: dict[str, Any], out: Path) -> None:
    """Both tables, the package's own only from the results that are checked in."""
    write_text(out.with_suffix(".md"), table(document))
    if out == OUT:
        write_text(DATA, data(document))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", nargs="+", default=FORMATS[:2], choices=FORMATS)
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="families or architectures tried")
    parser.add_argument("--again", action="store_true", help="measure rows that are not ok once more; of --only, all")
    parser.add_argument("--limit", type=int, default=300, help="seconds an export may take")
    parser.add_argument("--memory", type=float, default=10, help="GB it may take")
    parser.add_argument("--pictures", type=int, default=8, help="that every file is run on, beside four photographs")
    parser.add_argument("--tables", action="store_true", help="write the tables alone")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    document = documents.read(arguments.out)
    if arguments.tables:
        write_tables(document, arguments.out)
        return
    if not document:
        print("choosing an architecture of each family", flush=True)
        document = {"families": chosen(), "machine": this_device().model_dump(), "rows": {}}
        documents.write(arguments.out, document)
    for format_ in arguments.format:
        for family, facts in document["families"].items():
            if not facts or (arguments.only and not {family, facts["architecture"]} & set(arguments.only)):
                continue
            row = document["rows"].get(family, {}).get(format_)
            if row and not (arguments.again and (arguments.only or row["status"] != "ok")):
                continue
            row = measured(facts["architecture"], format_, arguments)
            row |= documents.circumstances() | {"versions": documents.versions(PACKAGES)}
            print(family, facts["architecture"], format_, row, flush=True)
            # Read again, as an environment for another format may have added rows since.
            document = documents.read(arguments.out)
            document["rows"].setdefault(family, {})[format_] = row
            documents.write(arguments.out, document)
            write_tables(document, arguments.out)
    for format_ in arguments.format:
        found = Counter(rows[format_]["status"] for rows in document["rows"].values() if format_ in rows)
        print(format_, dict(found))


if __name__ == "__main__":
    main()
