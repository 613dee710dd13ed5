"""Parity: the artifact and PyTorch on the same real images, and the bounds that an artifact must keep.

The images are the embedded photographs and pictures, so the check needs no network and no data. "Relative error" is
the largest absolute difference over the largest absolute feature; "k-NN agreement" is the share of images whose
nearest neighbour among the others (cosine) is the same by both sets of features.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.data.decode import decode_rgb
from lowzoo.data.samples import demonstration_photos
from lowzoo.data.source import open_source
from lowzoo.errors import LowzooError
from lowzoo.evaluate.preprocess import preprocess, to_uint8_input
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved

PICTURES = 60

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Bounds:
    """What an artifact must keep.

    Args:
        relative_error: At most.
        min_cosine: At least, for every image.
        knn_agreement: At least.
    """

    relative_error: float
    min_cosine: float
    knn_agreement: float


# fp32 differs from PyTorch by the order of additions alone: about 1e-6 is usual, 1e-4 leaves room for other processors.
BOUNDS = {"fp32": Bounds(relative_error=1e-4, min_cosine=0.9999, knn_agreement=0.98)}


@dataclass(frozen=True)
class Parity:
    """How far an artifact is from PyTorch.

    Args:
        images: Number of images compared.
        max_error: Largest absolute difference of a feature.
        mean_error: Mean absolute difference.
        relative_error: `max_error` over the largest absolute feature.
        min_cosine: Smallest cosine between the two features of an image.
        mean_cosine: Mean of them.
        knn_agreement: Share of images with the same nearest neighbour, in [0, 1].
        engine: What ran the artifact, with its version.
    """

    images: int
    max_error: float
    mean_error: float
    relative_error: float
    min_cosine: float
    mean_cosine: float
    knn_agreement: float
    engine: str

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


class ParityError(LowzooError):
    """An artifact that does not compute what PyTorch computes."""


def real_inputs(resolved: Resolved, spec: ExportSpec, pictures: int = PICTURES) -> NDArray[np.generic]:
    """Inputs (N, ...) of one image each, as the artifact takes them: the photographs, then sample pictures."""
    source = open_source(None, "validation")
    step = max(1, len(source) // pictures)
    encoded = demonstration_photos()
    encoded += [(source.where(i), source.encoded(i)) for i in range(0, len(source), step)][:pictures]
    images = [decode_rgb(data, name) for name, data in encoded]
    if spec.input == "image":
        return np.stack([to_uint8_input(image, resolved) for image in images])
    return np.stack([preprocess(image, resolved).numpy() for image in images])


def compare(reference: Array, found: Array, engine: str) -> Parity:
    """Measure two sets of features (N, D) of the same images.

    Raises:
        ParityError: The shapes differ, or a number is not finite.
    """
    if reference.shape != found.shape:
        raise ParityError(f"the artifact gives features of shape {found.shape}, PyTorch {reference.shape}")
    if not np.isfinite(found).all():
        raise ParityError(f"{int((~np.isfinite(found)).sum())} features of the artifact are no finite numbers")
    left, right = reference.astype(np.float64), found.astype(np.float64)
    difference = np.abs(left - right)
    unit_left = left / np.linalg.norm(left, axis=1, keepdims=True)
    unit_right = right / np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-12)
    cosine = (unit_left * unit_right).sum(1)
    return Parity(
        images=len(left),
        max_error=float(difference.max()),
        mean_error=float(difference.mean()),
        relative_error=float(difference.max() / np.abs(left).max()),
        min_cosine=float(cosine.min()),
        mean_cosine=float(cosine.mean()),
        knn_agreement=float((_nearest(unit_left) == _nearest(unit_right)).mean()),
        engine=engine,
    )


def enforce(parity: Parity, precision: str) -> None:
    """Refuse an artifact that breaks a bound of its precision.

    Raises:
        ParityError: Naming each broken bound.
    """
    bounds = BOUNDS[precision]
    broken = []
    if not parity.relative_error <= bounds.relative_error:
        broken.append(f"relative error {parity.relative_error:.2e} > {bounds.relative_error:.0e}")
    if not parity.min_cosine >= bounds.min_cosine:
        broken.append(f"smallest cosine {parity.min_cosine:.6f} < {bounds.min_cosine}")
    if not parity.knn_agreement >= bounds.knn_agreement:
        broken.append(f"k-NN agreement {parity.knn_agreement:.3f} < {bounds.knn_agreement}")
    if broken:
        raise ParityError(
            f"the {precision} artifact does not compute what PyTorch computes: {'; '.join(broken)}",
            "Nothing was written; please report the model and the versions of torch and onnxruntime",
        )


def torch_features(module: nn.Module, inputs: NDArray[np.generic]) -> Array:
    """Features by PyTorch, one image at a time as the artifact runs."""
    return _rows(lambda row: module(torch.from_numpy(row)).numpy(), inputs)


def onnx_features(path: Path, inputs: NDArray[np.generic], batch: int) -> Array:
    """Features by onnxruntime; where the graph's batch is fixed above 1, an image fills it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _rows(lambda row: session.run(None, {name: np.repeat(row, batch, 0)})[0][:1], inputs)


def engine_name() -> str:
    """The engine that checks ONNX files."""
    return f"onnxruntime {onnxruntime.__version__} (CPU)"


def _rows(run: Callable[[NDArray[np.generic]], Array], inputs: NDArray[np.generic]) -> Array:
    with torch.inference_mode():
        return np.concatenate([run(inputs[i : i + 1]) for i in range(len(inputs))])


def _nearest(unit: NDArray[np.float64]) -> NDArray[np.int64]:
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    nearest: NDArray[np.int64] = similarity.argmax(1)
    return nearest
