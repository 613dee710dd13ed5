"""`lowzoo check` on every file that `lowzoo export` can make, as the "Next:" line of the export says it.

    python benchmarks/check_grid.py [--formats onnx ...] [--precisions fp32 ...] [--every] [--out FILE.json]

The combinations are those of the code's own registry: formats x precisions x inputs x batches x (headless, own
classifier) x sizes (square, not square) x channels (1, 3, 4). What an export refuses by design is a row that says so.
Each file is made by the command line, in a folder of its own, from a small network of timm with random weights, and the
command that the export prints is run as it stands. Rows are added to what FILE.json holds, so that formats whose
packages want different environments are tried one after the other. Without --every, batches, heads, sizes and channels
are varied one at a time, which tries each value with each format and precision. With --missing, only rows that
FILE.json lacks are tried. A format whose package is not here is left out and said.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import documents
import numpy as np
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from lowzoo.base.next_line import commands_of
from lowzoo.cli.main import main as lowzoo
from lowzoo.export.formats import FORMATS
from lowzoo.export.spec.spec import INPUTS

OUT = Path(__file__).parent / "results" / "check_grid.json"
ARCHITECTURE = "test_resnet"
BATCHES = ("1", "3", "dynamic")
HEADS = ("none", "own")
SIZES = ("64", "64x96")
CHANNELS = (3, 1, 4)
NAMES = ("format", "precision", "input", "batch", "head", "size", "channels")
_SOME = (BATCHES, HEADS, SIZES, CHANNELS)


def combinations(formats: list[str], precisions: list[str] | None, every: bool) -> Iterator[tuple[Any, ...]]:
    """Every combination, or every one that differs from the first of each list in one place at most."""
    usual = tuple(values[0] for values in _SOME)
    for format_ in formats:
        for precision, input_ in itertools.product(FORMATS[format_].precisions, INPUTS):
            if precisions and precision not in precisions:
                continue
            for chosen in itertools.product(*_SOME):
                if every or sum(one != other for one, other in zip(chosen, usual, strict=True)) <= 1:
                    yield (format_, precision, input_, *chosen)


def run(words: list[str]) -> tuple[int, str]:
    """A command of lowzoo in this process: its exit status, and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            lowzoo(words)
        except SystemExit as ended:
            if ended.code in (130, 143):  # it was this script that was to stop
                raise
            return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def model_folder(folder: Path, channels: int) -> None:
    """A network whose every branch counts, with its classifier."""
    torch.manual_seed(0)
    network = timm.create_model(ARCHITECTURE, num_classes=5, in_chans=channels)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    save_for_hf(network, folder, safe_serialization=True)
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": [channels, 64, 64]}
    config["pretrained_cfg"] |= {key: [config["pretrained_cfg"][key][0]] * channels for key in ("mean", "std")}
    config["model_args"] = {"in_chans": channels}
    (folder / "config.json").write_text(json.dumps(config))


def attempt(combination: tuple[Any, ...], pictures: Path) -> dict[str, Any]:
    """Export and check; what happened, in words."""
    format_, precision, input_, batch, head, size, channels = combination
    words = ["--format", format_, "--precision", precision, "--input", input_, "--batch", batch, "--size", size]
    words += ["--head", "own"] if head == "own" else []
    # Random weights lose what they lose; what counts is that the check tells what the export told.
    words += ["--max-loss", "cosine:0.5"]
    if channels == 4 and precision == "int8" and format_ != "coreml":
        words += ["--calibration", str(pictures)]
    facts: dict[str, Any] = dict(zip(NAMES, combination, strict=True))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        model_folder(Path("model"), channels)
        start = time.perf_counter()
        status, text = run(["export", "./model", *words])
        if status:
            return facts | {"outcome": f"export refused ({status})", "said": _error(text)}
        # The colours stand in for other channels alike; bench is not what is tried here.
        (command,) = (each[1:] for each in commands_of(text) if each[1] == "check")
        status, text = run(command)
        facts["seconds"] = round(time.perf_counter() - start, 1)
        if status or "every bound is kept" not in text:
            return facts | {"outcome": f"check failed ({status})", "said": _error(text) or text[-300:]}
        return facts | {"outcome": "kept", "command": " ".join(command)}


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    return (list(FORMATS).index(row["format"]), *(str(row[name]) for name in NAMES))


def _error(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("lowzoo: error")]
    return lines[-1].removeprefix("lowzoo: error: ") if lines else ""


def make_pictures(folder: Path) -> None:
    """Pictures of 4 bands, to calibrate on."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(20):
        Image.fromarray(random.integers(0, 256, (64, 64, 4), dtype=np.uint8), "RGBA").save(folder / f"{i}.png")


def table(document: dict[str, Any]) -> str:
    """The document as markdown."""
    rows = document["rows"]
    counts = Counter(row["outcome"] for row in rows)
    lines = [
        "# `lowzoo check` on what `lowzoo export` makes",
        "",
        "Made by `benchmarks/check_grid.py`, which says what is tried: "
        + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        + (f". Not installed, so left out: {', '.join(document['absent'])}" if document["absent"] else "")
        + ".",
        "",
        "| " + " | ".join(NAMES) + " | outcome | said |",
        "|" + "---|" * (len(NAMES) + 2),
    ]
    for row in rows:
        said = row.get("said", "").replace("|", "/")
        lines.append("| " + " | ".join(str(row[name]) for name in NAMES) + f" | {row['outcome']} | {said} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--precisions", nargs="+")
    parser.add_argument("--every", action="store_true", help="all products of the lists, not one change at a time")
    parser.add_argument("--missing", action="store_true", help="only rows that FILE.json does not hold")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out.resolve()
    document = documents.read(out, {"rows": []})
    document["absent"] = []
    held = {tuple(row[name] for name in NAMES) for row in document["rows"]} if arguments.missing else set()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LOWZOO_CACHE"] = cache
        pictures = Path(cache) / "pictures"
        make_pictures(pictures)
        for combination in combinations(arguments.formats, arguments.precisions, arguments.every):
            if combination[0] in document["absent"] or combination in held:
                continue
            row = attempt(combination, pictures)
            if "is not installed" in row.get("said", ""):
                document["absent"].append(combination[0])
                continue
            others = [each for each in document["rows"] if any(each[name] != row[name] for name in NAMES)]
            document["rows"] = sorted([*others, row], key=_order)
            print(*combination, row["outcome"], row.get("said", ""), flush=True)
            documents.write(out, document, table)


if __name__ == "__main__":
    main()
