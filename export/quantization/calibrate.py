"""Ranges of a graph's activations on real images, by which int8 is scaled.

One pass gives two candidates for each tensor: its extremes, and its extremes without the rarest values (the 0.01 % and
99.99 % quantiles), which a transformer needs: a few outliers would take most of the 256 steps.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.export.parity.checker import open_part, spread
from lowzoo.export.parity.runnable import Image

LEAST_IMAGES = 16
IMAGES = 64
_RARE = 1e-4
# Quantiles of more values than this are found on an even part of them: sorting would take longer than the network.
_SAMPLED = 16384

Ranges = dict[str, tuple[float, float]]


def calibration_source(source_spec: str | None) -> ImageSource:
    """Open the set of images to calibrate on.

    Args:
        source_spec: SRC; the sample set's validation part if None, which the k-NN loss is not measured on.

    Raises:
        LowzooError: No such set, or fewer than 16 images in it.
    """
    source = open_part(source_spec, "validation" if source_spec is None else "train")
    if len(source) < LEAST_IMAGES:
        raise LowzooError(
            f"{source.name} holds {len(source)} images, too few to calibrate on", f"Name {LEAST_IMAGES} or more"
        )
    return source


def calibration_images(source_spec: str | None, channels: int) -> list[Image]:
    """Pictures for so many channels, spread over the set of `calibration_source`.

    Raises:
        LowzooError: No set is named, and the sample set has no such channels, whose ranges nobody can guess.
    """
    if source_spec is None and channels not in (1, 3):
        raise LowzooError(
            f"the embedded pictures do not have {channels} channels to calibrate int8 on", "Name some by --calibration"
        )
    source = calibration_source(source_spec)
    return [source.decoded(i, channels=channels).pixels for i in spread(len(source), IMAGES)]


def activation_ranges(path: Path, feeds: list[NDArray[np.generic]], operators: tuple[str, ...]) -> dict[str, Ranges]:
    """Run a float graph and note the ranges of what goes into and comes out of some operators.

    Args:
        path: Path of the float ONNX file.
        feeds: Inputs of the graph, one after the other.
        operators: Types of the nodes that count.

    Returns:
        {"extremes": ranges, "quantiles": ranges}, each {tensor: (least, largest)}.
    """
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    counted = [node for node in model.graph.node if node.op_type in operators]
    names = sorted({name for node in counted for name in (*node.input, *node.output) if name} - weights)
    already = {value.name for value in (*model.graph.output, *model.graph.input)}
    for name in names:
        if name not in already:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # An optimised graph would have fused away tensors that are to be seen.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = session.get_inputs()[0].name
    wanted = [name for name in names if name != fed]
    seen: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
    for feed in feeds:
        found = dict(zip(wanted, session.run(wanted, {fed: feed}), strict=True)) | {fed: feed}
        for name in names:
            if found[name].dtype == np.float32:
                seen[name].append(_range(found[name].reshape(-1)))
    ranges = {name: np.array(rows) for name, rows in seen.items() if rows}
    return {
        "extremes": {name: (rows[:, 0].min(), rows[:, 3].max()) for name, rows in ranges.items()},
        # Of each picture's quantiles the mean: one odd picture must not stretch the steps of all.
        "quantiles": {name: (rows[:, 1].mean(), rows[:, 2].mean()) for name, rows in ranges.items()},
    }


def _range(x: NDArray[np.float32]) -> tuple[float, float, float, float]:
    part = np.sort(x[:: max(1, len(x) // _SAMPLED)])
    low, high = part[int(_RARE * (len(part) - 1))], part[-1 - int(_RARE * (len(part) - 1))]
    return float(x.min()), float(low), float(high), float(x.max())
