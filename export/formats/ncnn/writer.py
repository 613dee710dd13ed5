"""ncnn: a graph (`.param`) and its weights (`.bin`), by pnnx from an ONNX graph.

A run takes one picture without a batch: planes (C, H, W) of float32. On a phone ncnn computes in float16 unless it is
told not to, whatever the weights are, so an app sets for an fp32 file what `exact` sets here.
"""

import dataclasses
import json
import platform
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.native import native_quiet
from lowzoo.export.artifacts.float32_left import Float32Left, weights_in
from lowzoo.export.artifacts.metadata import metadata, output_names
from lowzoo.export.artifacts.parts import note_of_parts, require_parts
from lowzoo.export.artifacts.places import size_of
from lowzoo.export.formats.ncnn.graph import Layer, append_notes, layers_of, notes_of_ncnn, write_layers
from lowzoo.export.formats.ncnn.reductions import over_two_axes
from lowzoo.export.formats.onnx.writer import float32_left, write_graph
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.readiness import Readiness, advice_of
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.system.installed import require
from lowzoo.zoo.resolve import Resolved

_ARM = ("aarch64", "arm64")
_HALF_NOT_RUN = (
    "the weights are float16 and were computed with in float32, as ncnn does on this CPU; on a phone it computes "
    "in float16 as well, which was not run here"
)
# What ncnn computes in float16 by, where the CPU has it.
_HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")


def write_ncnn(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Convert the module and write both files.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Input and precision.
        path: To write the graph to; the weights go beside it.
        checker: Is not asked: no precision is searched for.

    Returns:
        Warnings, one sentence each.

    Raises:
        LowzooError: pnnx or ncnn is not there, or the network has what ncnn has no layer for.
    """
    require("pnnx", "ncnn")
    require("ncnn", "ncnn")
    import pnnx

    with tempfile.TemporaryDirectory(prefix="lowzoo-ncnn-") as folder:
        graph = Path(folder) / "graph.onnx"
        write_graph(module, resolved, spec, graph)
        over_two_axes(graph)
        command = [pnnx.EXEC_PATH, graph.name, f"fp16={int(spec.precision == 'fp16')}"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        made = Path(folder) / "graph.ncnn.param"
        if run.returncode or not made.is_file():
            lines = [line.strip() for line in (run.stderr + run.stdout).splitlines() if line.strip()]
            raise _refused(resolved, "".join(lines[-1:])[:160] or f"pnnx ends with status {run.returncode}")
        try:
            layers = layers_of(made)
        except ValueError as error:
            raise _refused(resolved, str(error)) from error
        if unknown := sorted({layer.kind for layer in layers if "." in layer.kind or "::" in layer.kind}):
            raise _refused(resolved, f"it uses {', '.join(unknown)}, which ncnn has no layer for")
        left = _float32_left(layers, graph) if spec.precision == "fp16" else None
        write_layers(path, _named(layers, resolved, spec))
        path.with_suffix(".bin").write_bytes(made.with_suffix(".bin").read_bytes())
        try:
            load_net(path, 1, half=False)
        except ParityError as error:
            if absent := re.search(r"layer (\S+) not exists", error.message):
                raise _refused(resolved, f"it uses {absent[1]}, which ncnn has no layer for") from error
            raise
    said = metadata(resolved, spec) | note_of_parts(path, (".bin",))
    if spec.precision == "fp16" and platform.machine() not in _ARM:
        said["lowzoo.not_run"] = _HALF_NOT_RUN
    append_notes(path, said | (left.note if left else {}))
    return left.sentences("pnnx rounds those of layers alone") if left else ()


def open_ncnn(path: Path) -> Runnable:
    """Load a graph and its weights in ncnn, on the CPU.

    Raises:
        LowzooError: ncnn is not there.
        ParityError: The files do not load, do not belong together, or do not say what size of picture they take.
    """
    require("ncnn", "ncnn")
    notes = notes_of_ncnn(path)
    require_parts(path, (".bin",), notes)
    try:
        layers = layers_of(path)
    except ValueError as error:
        raise ParityError(f"ncnn cannot run the artifact ({error})", "Export it again") from error
    shape = _shape(path, layers)
    taken, outputs = names_of(path, notes)
    net = load_net(path, torch.get_num_threads(), half=notes.get("lowzoo.precision") == "fp16")
    import ncnn

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        lent = np.ascontiguousarray(rows[0], np.float32)  # ncnn has no batch
        # Into memory that it was lent a layer of one channel writes where it must not, and the process ends.
        planes = ncnn.Mat(lent).clone()
        extractor = net.create_extractor()
        extractor.input(taken, planes)
        found = []
        for name in outputs:
            status, value = extractor.extract(name)
            if status:
                raise ParityError(f"ncnn cannot run the artifact (it gives no {name}, status {status})")
            found.append(np.array(value, np.float32)[None])
        return tuple(found)

    return Runnable(
        path=path,
        format="ncnn",
        engine=f"ncnn {version('ncnn')} (CPU)",
        shape=shape,
        dtype=np.dtype(np.float32),
        pixels=bool(json.loads(notes.get("lowzoo.preprocessing", "{}")).get("normalised_in_graph", False)),
        metadata=notes,
        run=run,
        not_run=notes.get("lowzoo.not_run", ""),
    )


def load_net(path: Path, threads: int, *, half: bool) -> Any:
    """The network in ncnn.

    Args:
        path: Path of the graph; the weights lie beside it.
        threads: Threads of a layer.
        half: Compute in float16 where the CPU can.

    Raises:
        ParityError: ncnn does not load it.
    """
    with native_quiet() as said:
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        for name in _HALVES:
            if hasattr(net.opt, name):
                setattr(net.opt, name, half and "bf16" not in name)
        failed = net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin")))
        told = said().strip().split("\n")[0][:160]
    if failed:
        raise ParityError(f"ncnn cannot run the artifact ({told or f'status {failed}'})", "Export it again")
    return net


def names_of(path: Path, notes: Mapping[str, str]) -> tuple[str, list[str]]:
    """Names of a graph's input, and of its outputs in their order: it lists layers, not what is to be read of them."""
    layers = layers_of(path)
    read = {name for layer in layers for name in layer.reads}
    made = [name for layer in layers for name in layer.makes if name not in read]
    if "lowzoo.outputs" in notes:
        stated = [each["name"] for each in json.loads(notes["lowzoo.outputs"])]
    else:
        stated = [json.loads(notes["lowzoo.output"])["name"]] if "lowzoo.output" in notes else []
    taken = next(layer.makes[0] for layer in layers if layer.kind == "Input")
    return taken, [name for name in stated if name in made] or made


def readiness_of_ncnn(path: Path, artifact: Runnable) -> Readiness:
    """Layers of the graph by number."""
    kinds = Counter(layer.kind for layer in layers_of(path) if layer.kind not in ("Input", "Split", "MemoryData"))
    return Readiness(size_of(path), dict(kinds.most_common()), (), advice_of(artifact))


def _float32_left(layers: list[Layer], graph: Path) -> Float32Left:
    """What pnnx leaves in float32: constants that are no layer's, such as the positions of a transformer."""
    kept = 0
    for layer in layers:
        settings = dict(setting.split("=", 1) for setting in layer.settings)
        if layer.kind == "MemoryData" and settings.get("21", "1") == "1":  # 0: by the type that stands before the data
            kept += weights_in([int(settings[key]) for key in ("0", "1", "11", "2") if key in settings])
    whole = float32_left(onnx.load(graph)).of
    return Float32Left(kept, max(kept, whole))


def _named(layers: list[Layer], resolved: Resolved, spec: ExportSpec) -> list[Layer]:
    """The graph with our names of its input and outputs, and with the size of its picture."""
    channels, height, width = resolved.input_size
    names = {"in0": spec.input_name}
    names |= {f"out{i}": name for i, name in enumerate(output_names(resolved, spec))}

    def renamed(blobs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(blob, blob) for blob in blobs)

    return [
        dataclasses.replace(
            layer,
            reads=renamed(layer.reads),
            makes=renamed(layer.makes),
            settings=(f"0={width}", f"1={height}", f"2={channels}") if layer.kind == "Input" else layer.settings,
        )
        for layer in layers
    ]


def _shape(path: Path, layers: list[Layer]) -> tuple[int, int, int, int]:
    found = [layer for layer in layers if layer.kind == "Input"]
    sides = dict(setting.split("=", 1) for layer in found for setting in layer.settings)
    if len(found) != 1 or not {"0", "1", "2"} <= sides.keys():
        raise ParityError(f"{path} does not say that it takes one picture, and of what size", "Export it again")
    return (1, int(sides["2"]), int(sides["1"]), int(sides["0"]))


def _refused(resolved: Resolved, reason: str) -> LowzooError:
    return LowzooError(
        f"{resolved.name} cannot be exported by pnnx {version('pnnx')} ({reason})",
        "Name another format, or another model",
    )
