"""Parity: the artifact and PyTorch on the same real images, and the bounds that an artifact must keep.

The images are the embedded photographs and pictures, so the check needs no network and no data. PyTorch is fed by the
preprocessing that evaluation uses, not by the exported module, so a wrong mean in the graph is found too. "Relative
error" is the largest absolute difference over the largest absolute feature; "k-NN agreement" is the share of images
whose nearest neighbour among the others (cosine) is the same by both sets of features, or as near by PyTorch's.
"""

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from lowzoo.data.decode import decode_rgb
from lowzoo.data.samples import demonstration_photos
from lowzoo.data.source import open_source
from lowzoo.errors import LowzooError
from lowzoo.evaluate.preprocess import preprocess, to_uint8_input
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved

PICTURES = 60
# Batches that a dynamic artifact is tried with, in turn: exporters have been right for some and wrong for others.
_DYNAMIC_BATCHES = (1, 5, 2)
# Cosines closer than this are a tie: the order of additions alone moves them by up to 7e-7 (rob_vit_tiny), and where an
# untrained network gives every image the same features (repvgg_a0) it is chance which of them comes out nearest.
_TIE = 1e-5

Array = NDArray[np.float32]
Image = NDArray[np.uint8]


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
BOUNDS = {"fp32": Bounds(relative_error=1e-4, min_cosine=0.9999, knn_agreement=1.0)}


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
        knn_agreement: Share of images with the same nearest neighbour up to ties, in [0, 1].
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


def check_onnx(path: Path, resolved: Resolved, spec: ExportSpec) -> Parity:
    """Run an ONNX file and the network it was made from on real images.

    Raises:
        ParityError: A bound is broken, or the file does not run.
    """
    images = real_images()
    parity = compare(torch_features(resolved, images), onnx_features(path, resolved, spec, images), _engine())
    enforce(parity, spec.precision)
    return parity


def real_images(pictures: int = PICTURES) -> list[Image]:
    """The embedded photographs, then pictures spread over the sample set, each (h, w, 3) RGB."""
    source = open_source(None, "validation")
    step = max(1, len(source) // pictures)
    encoded = demonstration_photos()
    encoded += [(source.where(i), source.encoded(i)) for i in range(0, len(source), step)][:pictures]
    return [decode_rgb(data, name) for name, data in encoded]


def torch_features(resolved: Resolved, images: list[Image]) -> Array:
    """Features (N, D) by PyTorch, one image at a time."""
    with torch.inference_mode():
        return np.concatenate([resolved.model(preprocess(image, resolved)[None]).numpy() for image in images])


def onnx_features(path: Path, resolved: Resolved, spec: ExportSpec, images: list[Image]) -> Array:
    """Features (N, D) by onnxruntime, in batches of the artifact's size, the last one filled up.

    Raises:
        ParityError: The file does not load or run.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised, and said once
    sizes = itertools.cycle(_DYNAMIC_BATCHES if spec.batch == "dynamic" else (spec.batch,))
    rows: list[Array] = []
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        while len(rows) < len(images):
            batch = [images[i % len(images)] for i in range(len(rows), len(rows) + next(sizes))]
            feed = {spec.input_name: np.stack([_input(image, resolved, spec) for image in batch])}
            rows.extend(session.run(None, feed)[0])
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure, without a common base
        reason = " ".join(str(error).split())[:200]
        raise ParityError(
            f"onnxruntime cannot run the artifact ({reason})", "Try --batch 1 or another opset"
        ) from error
    return np.stack(rows[: len(images)])


def compare(reference: Array, found: Array, engine: str) -> Parity:
    """Measure two sets of features (N, D) of the same images.

    Raises:
        ParityError: The shapes differ, or a number is not finite.
    """
    if reference.shape != found.shape:
        raise ParityError(f"the artifact gives features of shape {found.shape}, PyTorch {reference.shape}")
    for who, features in (("PyTorch", reference), ("the artifact", found)):
        if bad := int((~np.isfinite(features)).sum()):
            raise ParityError(f"{bad} of {features.size} features by {who} are not finite", "Check the weights")
    left, right = reference.astype(np.float64), found.astype(np.float64)
    difference = np.abs(left - right)
    unit_left, unit_right = _unit(left), _unit(right)
    cosine = (unit_left * unit_right).sum(1)
    return Parity(
        images=len(left),
        max_error=float(difference.max()),
        mean_error=float(difference.mean()),
        relative_error=float(difference.max() / max(np.abs(left).max(), 1e-12)),
        min_cosine=float(cosine.min()),
        mean_cosine=float(cosine.mean()),
        knn_agreement=_knn_agreement(unit_left, unit_right),
        engine=engine,
    )


def enforce(parity: Parity, precision: str) -> None:
    """Refuse an artifact that breaks a bound of its precision.

    Raises:
        ParityError: Naming each broken bound.
    """
    bounds = BOUNDS[precision]
    broken = []
    # Written so that a NaN breaks the bound.
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


def _input(image: Image, resolved: Resolved, spec: ExportSpec) -> NDArray[np.generic]:
    return to_uint8_input(image, resolved) if spec.input == "image" else preprocess(image, resolved).numpy()


def _engine() -> str:
    return f"onnxruntime {onnxruntime.__version__} (CPU)"


def _unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return unit


def _knn_agreement(reference: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    similarity, picked = _similarity(reference), _similarity(found).argmax(1)
    lost = similarity.max(1) - similarity[np.arange(len(picked)), picked]
    return float((lost <= _TIE).mean())


def _similarity(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines (N, N) of the rows, none with itself."""
    similarity: NDArray[np.float64] = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity
