"""ONNX: torch's dynamo exporter, one file, metadata inside."""

import contextlib
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

import lowzoo
from lowzoo.errors import LowzooError
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved

OUTPUT_NAME = "features"


def write_onnx(module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path) -> None:
    """Trace the module and write the file.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape and opset.
        path: To write to.

    Raises:
        LowzooError: The network cannot be traced, or the file would be larger than ONNX allows (2 GB).
    """
    try:
        with _quiet():
            model = _trace(module, resolved, spec)
        _describe(model, resolved, spec)
        onnx.checker.check_model(model)
        content = model.SerializeToString()
    except Exception as error:  # every stage of the exporter has a family of errors of its own
        reason = " ".join(str(error).split())[:200]
        raise LowzooError(
            f"{resolved.name} cannot be exported to ONNX ({reason})",
            "Try --batch 1 or another model; --debug shows all",
        ) from error
    path.write_bytes(content)


def metadata(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """What stands inside the file: which model it is and how to feed it; values of more than a word are JSON."""
    height, width = resolved.input_size[1:]
    shorter_side = math.floor(min(height, width) / resolved.crop_pct)
    preprocessing = {
        "colour": "RGB",
        "resize": {"shorter_side": shorter_side, "interpolation": resolved.interpolation},
        "center_crop": [height, width],
        "mean": resolved.mean,
        "std": resolved.std,
        "normalised_in_graph": spec.input == "image",
    }
    output = {"name": OUTPUT_NAME, "type": "float32", "layout": "BD", "meaning": "features, one row an image"}
    return {
        "lowzoo.version": lowzoo.__version__,
        "lowzoo.model": resolved.name,
        "lowzoo.revision": resolved.revision,
        "lowzoo.recipe": resolved.recipe,
        "lowzoo.license": resolved.license,
        "lowzoo.precision": spec.precision,
        "lowzoo.preprocessing": json.dumps(preprocessing),
        "lowzoo.input": json.dumps({"name": spec.input_name, **_input_facts(spec)}),
        "lowzoo.output": json.dumps(output),
    }


def _input_facts(spec: ExportSpec) -> dict[str, str]:
    if spec.input == "image":
        return {"type": "uint8", "layout": "BHWC", "values": "RGB in 0 to 255, after resize and centre crop"}
    return {"type": "float32", "layout": "BCHW", "values": "RGB in 0 to 1, minus mean, divided by std"}


def _trace(module: nn.Module, resolved: Resolved, spec: ExportSpec) -> onnx.ModelProto:
    # A traced dimension of 1 would be taken as fixed, so a dynamic batch is traced with 2.
    batch = 2 if spec.batch == "dynamic" else spec.batch
    height, width = resolved.input_size[1:]
    image = spec.input == "image"
    example = torch.zeros(batch, height, width, 3, dtype=torch.uint8) if image else torch.zeros(batch, 3, height, width)
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        external_data=False,
        opset_version=spec.opset,
        input_names=[spec.input_name],
        output_names=[OUTPUT_NAME],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},) if spec.batch == "dynamic" else None,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    return program.model_proto


def _describe(model: onnx.ModelProto, resolved: Resolved, spec: ExportSpec) -> None:
    """Replace the exporter's notes by ours."""
    # It notes a stack trace beside every node: 3 % of the file, and the folders of whoever exported it.
    graph: Any = model.graph
    for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output, graph, model):
        del part.metadata_props[:]
    graph.name = resolved.name
    graph.input[0].doc_string = _input_facts(spec)["values"]
    graph.output[0].doc_string = "Features, one row an image"
    onnx.helper.set_model_props(model, metadata(resolved, spec))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress notes and deprecation warnings off the console."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
