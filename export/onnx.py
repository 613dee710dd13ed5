"""ONNX: torch's dynamo exporter, one file, metadata inside."""

import contextlib
import io
import json
import logging
import warnings
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
    # A traced dimension of 1 would be specialised, so a dynamic batch is traced with 2.
    batch = 2 if spec.batch == "dynamic" else spec.batch
    size = resolved.input_size[1:]
    example = torch.zeros(batch, *size, 3, dtype=torch.uint8) if spec.input == "image" else torch.zeros(batch, 3, *size)
    dynamic = ({0: torch.export.Dim("batch", min=1)},) if spec.batch == "dynamic" else None
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=spec.opset,
                input_names=[spec.input_name],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=dynamic,
                verbose=False,
            )
            if program is None:
                raise RuntimeError("the exporter returned nothing")
            model = program.model_proto
    except Exception as error:  # the exporter has a family of its own for every stage
        reason = " ".join(str(error).split())[:200]
        raise LowzooError(
            f"{resolved.name} cannot be exported to ONNX ({reason})",
            "Try --batch 1, or another model; --debug shows all",
        ) from error
    for key, value in metadata(resolved, spec).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, path)


def metadata(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """What stands inside the file: which model it is and how to feed it."""
    size = resolved.input_size[1]
    pixels: dict[str, Any] = {
        "resize": {"shorter_side": round(size / resolved.crop_pct), "interpolation": resolved.interpolation},
        "center_crop": size,
    }
    if spec.input == "image":
        pixels |= {"layout": "NHWC", "type": "uint8", "colour": "RGB", "range": [0, 255], "normalised_in_graph": True}
    else:
        pixels |= {"layout": "NCHW", "type": "float32", "colour": "RGB", "range": [0, 1], "normalised_in_graph": False}
    return {
        "lowzoo.version": lowzoo.__version__,
        "lowzoo.model": resolved.name,
        "lowzoo.revision": resolved.revision,
        "lowzoo.recipe": resolved.recipe,
        "lowzoo.license": resolved.license,
        "lowzoo.precision": spec.precision,
        "lowzoo.preprocessing": json.dumps({**pixels, "mean": resolved.mean, "std": resolved.std}),
        "lowzoo.output": json.dumps({"name": OUTPUT_NAME, "type": "float32", "meaning": "features, one row an image"}),
    }


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the exporter's progress notes and deprecation warnings off the console."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
