"""Do the features that a device computed agree with PyTorch's, for the very input that it was fed?"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.bench.engines.ort import prepare
from lowzoo.bench.results.schema import Parity
from lowzoo.bench.subjects.artifact import OnnxFile

# What a precision may change, as exporting allows it: relative error, and cosine.
_BOUNDS = {"fp32": (1e-4, 0.9999), "fp16": (5e-2, 0.9995)}
_LOSSY = (math.inf, 0.8)
# As in page/worker.js.
_MOST_FEATURES = 50_000


def judge_for(file: OnnxFile, pixels: NDArray[Any]) -> Callable[[list[float]], Parity]:
    """Compute the reference once, and give what compares features with it.

    The reference is the PyTorch network that the file names; onnxruntime on this computer where it names none that can
    be built with the very weights that it was made from.

    Args:
        file: Whose features they are.
        pixels: What the device is fed.
    """
    expected = _pytorch(file, pixels)
    reference = "PyTorch"
    if expected is None:
        outputs: Any = prepare(str(file.path), 1, True)(pixels)
        expected, reference = _spread(outputs), "onnxruntime on this computer"
    relative, cosine = _BOUNDS.get(file.metadata.get("lowzoo.precision", "fp32"), _LOSSY)

    def judge(features: list[float]) -> Parity:
        found = np.asarray(features, np.float64)
        if found.shape != expected.shape or not np.isfinite(found).all():
            return Parity(reference=reference, relative_error=None, cosine=-1.0, agrees=False)
        error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
        norms = float(np.linalg.norm(found) * np.linalg.norm(expected))
        alike = float(found @ expected) / norms if norms else float(not found.any() and not expected.any())
        return Parity(
            reference=reference,
            relative_error=error,
            cosine=alike,
            agrees=error <= relative and alike >= cosine,
        )

    return judge


def _pytorch(file: OnnxFile, pixels: NDArray[Any]) -> NDArray[np.float64] | None:
    if "lowzoo.model" not in file.metadata:
        return None
    import torch

    from lowzoo.export.artifacts.identity import reference_of

    side = file.shape[1:3] if file.pixels_last else file.shape[2:4]
    try:
        reference = reference_of(file.path, file.metadata, side, None, None)
    except LowzooError:
        return None
    resolved = reference.resolved
    planes = torch.from_numpy(
        np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if file.pixels_last else pixels)
    ).float()
    if file.input_type == "tensor(uint8)":
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (resolved.mean, resolved.std))
        planes = (planes / 255 - mean) / std
    with torch.inference_mode():
        found = resolved.model(planes)
    return _spread([each.numpy() for each in (found if isinstance(found, tuple) else (found,))])


def _spread(outputs: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """What a page posts of the outputs: all numbers one behind the other, of feature maps every so many-th."""
    numbers = np.concatenate([np.asarray(output, np.float64).ravel() for output in outputs])
    step = max(1, math.ceil(numbers.size / _MOST_FEATURES))
    return numbers[::step]
