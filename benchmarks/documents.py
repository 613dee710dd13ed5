"""What the benchmarks of exports have in common: a document of rows, written as they are measured, and its table."""

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lowzoo.io.files import write_text

PACKAGES = (
    "torch",
    "timm",
    "numpy",
    "onnxruntime",
    "coremltools",
    "executorch",
    "litert-torch",
    "ai-edge-litert",
    "openvino",
    "ncnn",
    "pnnx",
    "MNN",
)


def read(path: Path, empty: dict[str, Any] | None = None) -> dict[str, Any]:
    """The document so far; `empty` where there is none yet."""
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else dict(empty or {})
    return document


def write(path: Path, document: dict[str, Any], table: Callable[[dict[str, Any]], str] | None = None) -> None:
    """The document, and beside it its table as markdown; after every row, because a sweep takes long."""
    write_text(path, json.dumps(document, indent=1) + "\n")
    if table is not None:
        write_text(path.with_suffix(".md"), table(document))


def circumstances() -> dict[str, Any]:
    """When a row is measured, and how busy the machine is."""
    return {"load_average": os.getloadavg()[0], "when": datetime.now(UTC).isoformat("T", "minutes")}


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of the packages that are here."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
