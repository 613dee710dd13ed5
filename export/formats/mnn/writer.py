"""MNN: one `.mnn` file, by MNN's converter from an ONNX graph.

`int8-dynamic` is of weights, a scale a channel; activations are quantised in every run where an app asks for little
memory, as the runtime here does. What a file was made from is the text of its `bizCode`, the field that MNN leaves to
whoever makes a model.

The converter is called in a process of its own, by the extension module `_tools`: it ends the process at some errors,
and the package `MNN.tools` around it installs another package and reports each use when it is imported.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.native import native_quiet
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.metadata import metadata
from lowzoo.export.formats.onnx.writer import float32_left, write_graph
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved

_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"
_WAYS = {"fp32": (), "fp16": ("--fp16",), "int8-dynamic": ("--weightQuantBits", "8")}
_SHAPE = "lowzoo.shape"
_LEAST_TOLD = 0.01  # of the weights
_HALF_NOT_RUN = (
    "the weights are float16 and were computed with in float32, as MNN does on this CPU; a phone computes in "
    "float16 as well where an app asks for low precision, which was not run here"
)


def write_mnn(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Convert the module and write the file.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape, input and precision.
        path: To write to.
        checker: Is not asked: no precision is searched for.

    Returns:
        Warnings, one sentence each.

    Raises:
        LowzooError: MNN is not there, or cannot convert the network.
        ParityError: The file of another precision holds the weights as they were.
    """
    require("MNN", "mnn")
    channels, height, width = resolved.input_size
    batch = spec.batch if isinstance(spec.batch, int) else 1
    shape = [batch, height, width, channels] if spec.pixels_last else [batch, channels, height, width]
    said = metadata(resolved, spec) | {_SHAPE: json.dumps(shape)}
    if spec.precision == "fp16":
        said["lowzoo.not_run"] = _HALF_NOT_RUN
    with tempfile.TemporaryDirectory(prefix="lowzoo-mnn-") as folder:
        graph = Path(folder) / "graph.onnx"
        write_graph(module, resolved, spec, graph)
        _convert(resolved, graph, path, said, _WAYS[spec.precision])
        if spec.precision != "fp32":
            exact = Path(folder) / "exact.mnn"
            _convert(resolved, graph, exact, said, ())
            gained = exact.stat().st_size - path.stat().st_size
            if not gained:
                wanted = "float16" if spec.precision == "fp16" else "int8"
                raise ParityError(f"a file in which no weight is {wanted}", "Use fp32")
            if spec.precision == "fp16":
                # The file does not show its types, but what it lost in bytes: two for each number. Numbers of a channel
                # and the file's own structure are among these bytes, so that little says nothing.
                whole = float32_left(onnx.load(graph)).of
                kept = whole - gained // 2
                left = Float32Left(kept if kept > _LEAST_TOLD * whole else 0, whole)
                _convert(resolved, graph, path, said | left.note, _WAYS["fp16"])
                return left.sentences("MNN rounds those of its layers alone")
            if gained < 0:
                return (f"the file is {-gained / 1e3:.1f} kB larger than in fp32: its scales outweigh its weights",)
    return ()


def open_mnn(path: Path) -> Runnable:
    """Load a file in MNN, on the CPU.

    Raises:
        LowzooError: MNN is not there.
        ParityError: The file does not load, or does not say what picture it takes.
    """
    require("MNN", "mnn")
    module, notes = load_module(path, torch.get_num_threads())
    try:
        sides = [int(side) for side in json.loads(notes[_SHAPE])]
        stated = json.loads(notes["lowzoo.input"])["type"]
        shape = (sides[0], sides[1], sides[2], sides[3])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ParityError(f"{path} does not say what picture it takes", "Export it again") from error
    dtype = np.dtype(np.uint8 if stated == "uint8" else np.float32)
    return Runnable(
        path=path,
        format="mnn",
        engine=f"MNN {version('MNN')} (CPU)",
        shape=shape,
        dtype=dtype,
        pixels=bool(json.loads(notes.get("lowzoo.preprocessing", "{}")).get("normalised_in_graph", False)),
        metadata=notes,
        run=runner(module, shape, dtype),
        not_run=notes.get("lowzoo.not_run", ""),
    )


def load_module(path: Path, threads: int) -> tuple[Any, dict[str, str]]:
    """The network in MNN, and what the file says of itself.

    Raises:
        ParityError: MNN does not load it.
    """
    with native_quiet() as said:
        try:
            from MNN import nn as mnn

            settings = {"backend": "CPU", "numThread": threads, "precision": "high", "memory": "low", "power": "normal"}
            module = mnn.load_module_from_file(
                str(path), [], [], runtime_manager=mnn.create_runtime_manager((settings,))
            )
            found = module.get_info()
            reason = ""
        except Exception as error:  # the runtime raises what its C++ throws
            reason = said().strip().split("\n")[-1][:160] or reason_of(error)
    if reason.startswith("Invalidate buffer"):
        reason = "it is damaged, or no MNN file"
    if reason:
        raise ParityError(f"MNN cannot run the artifact ({reason})", "Export it again")
    return module, _read(found.get("bizCode", ""))


def runner(module: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], tuple[Array, ...]]:
    """A function from a batch of a network's input to its outputs."""
    with native_quiet():
        from MNN import expr

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        # Of an ONNX graph MNN keeps the order of dimensions, which it calls NCHW whatever they mean.
        taken = expr.placeholder(list(shape), expr.NCHW, expr.uint8 if dtype == np.uint8 else expr.float)
        taken.write(np.ascontiguousarray(rows))
        found = module.forward([taken])
        return tuple(np.array(expr.convert(each, expr.NCHW).read(), np.float32) for each in found)

    return run


def notes_of_mnn(path: Path) -> dict[str, str]:
    """What a file says of itself; nothing where MNN is not there to read it, or it is another kind of file."""
    try:
        require("MNN", "mnn")
        return load_module(path, 1)[1]
    except LowzooError:
        return {}


def _convert(resolved: Resolved, graph: Path, path: Path, said: dict[str, str], way: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", _CONVERT, "-f", "ONNX", "--modelFile", str(graph), "--MNNModel", str(path)]
    run = subprocess.run(
        [*command, "--bizCode", json.dumps(said), *way], capture_output=True, text=True, errors="replace", check=False
    )
    if run.returncode or "Converted Success" not in run.stdout:
        lines = [line.strip() for line in (run.stdout + run.stderr).split("\n") if line.strip()]
        reason = next((line for line in lines if "rror" in line or "not support" in line), lines[-1] if lines else "")
        raise LowzooError(
            f"{resolved.name} cannot be exported by MNN {version('MNN')} "
            f"({reason[:160] or f'its converter ends with status {run.returncode}'})",
            "Name another format, or another model",
        )


def _read(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
