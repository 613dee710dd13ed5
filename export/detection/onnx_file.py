"""The graph of a detector as an ONNX file: `NonMaxSuppression` and `RoiAlign` are operators of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import FLOAT, INT64
from onnxscript import opset18 as op

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.quiet import quiet
from lowzoo.export.artifacts.metadata import IR_OF_OPSET
from lowzoo.export.detection.graph import DetectorGraph
from lowzoo.export.network.reasons import plain_reason
from lowzoo.export.network.trace import traced
from lowzoo.export.spec.bounds import ParityError


def _keep_best(boxes: FLOAT, scores: FLOAT, overlap: float, least: float, most: int) -> INT64:
    whole, values = op.Unsqueeze(boxes, [0]), op.Unsqueeze(scores, [0, 1])
    count = op.Constant(value_ints=[most])
    found = op.NonMaxSuppression(
        whole, values, count, op.Constant(value_floats=[overlap]), op.Constant(value_floats=[least])
    )
    kept = op.Reshape(op.Slice(found, [2], [3], [1]), [-1])
    padded = op.Concat(kept, op.Expand(op.Constant(value_ints=[-1]), count), axis=0)
    return op.Slice(padded, [0], count, [0])


def _roi_align(
    level: FLOAT,
    regions: FLOAT,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> FLOAT:
    numbers = op.Cast(op.Reshape(op.Slice(regions, [0], [1], [1]), [-1]), to=7)
    return op.RoiAlign(
        level,
        op.Slice(regions, [1], [5], [1]),
        numbers,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        spatial_scale=spatial_scale,
        output_height=pooled_height,
        output_width=pooled_width,
        sampling_ratio=max(0, sampling_ratio),
    )


def write_detector(graph: DetectorGraph, path: Path, metadata: dict[str, str], name: str, opset: int) -> None:
    """Trace the graph and write the file.

    Raises:
        LowzooError: The network cannot be traced.
    """
    example = torch.zeros((1, *graph.size, 3), dtype=torch.uint8)
    table: dict[Any, Any] = {
        torch.ops.lowzoo.keep_best.default: _keep_best,
        torch.ops.torchvision.roi_align.default: _roi_align,
    }
    try:
        with quiet():
            program = torch.onnx.export(
                traced(graph, example),
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=opset,
                input_names=["image"],
                output_names=list(graph.output_names()),
                custom_translation_table=table,
                verbose=False,
            )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        model = program.model_proto
        plain: Any = model.graph
        for part in (*plain.node, *plain.initializer, *plain.value_info, *plain.input, *plain.output, plain, model):
            del part.metadata_props[:]
        plain.name = name
        model.ir_version = IR_OF_OPSET[opset]
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
    except Exception as error:  # every stage of the exporter has a family of errors of its own
        raise LowzooError(
            f"{name} cannot be exported to ONNX ({plain_reason(error)})", "Name another detector; --debug shows all"
        ) from error


class DetectorFile:
    """A detector's file in onnxruntime.

    Args:
        path: The file.

    Raises:
        ParityError: It cannot be run.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong is raised, and said once
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each kind of failure
            raise ParityError(f"onnxruntime cannot run the artifact ({reason_of(error)})", "Export it again") from error
        self.engine = f"onnxruntime {onnxruntime.__version__} (CPU)"
        self.names = tuple(each.name for each in self._session.get_outputs())

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Pixels (H, W, 3) to the outputs by name."""
        try:
            found = self._session.run(None, {self._session.get_inputs()[0].name: pixels[None]})
        except Exception as error:  # as above
            raise ParityError(f"onnxruntime cannot run the artifact ({reason_of(error)})", "Export it again") from error
        return dict(zip(self.names, found, strict=True))
