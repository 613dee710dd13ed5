"""Parity: two sets of features of the same images, measured and held against bounds.

"Relative error" is the largest absolute difference over the largest absolute feature; "k-NN agreement" is the share of
images whose nearest neighbour among the others (cosine) is the same by both sets of features, or as near by PyTorch's.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowzoo.export.bounds import BOUNDS, Bounds, ParityError
from lowzoo.export.runnable import Array
from lowzoo.export.spec import ExportSpec

# Cosines closer than this are a tie: the order of additions alone moves them by up to 7e-7 (rob_vit_tiny), and where an
# untrained network gives every image the same features (repvgg_a0) it is chance which of them comes out nearest.
_TIE = 1e-5


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
        knn_loss: Points of leave-one-out k-NN accuracy lost; None where it was not measured.
        knn_images: Number of labelled images that it was measured on.
    """

    images: int
    max_error: float
    mean_error: float
    relative_error: float
    min_cosine: float
    mean_cosine: float
    knn_agreement: float
    engine: str
    knn_loss: float | None = None
    knn_images: int = 0

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def compare(reference: Array, found: Array, engine: str) -> Parity:
    """Measure two sets of features (N, D) of the same images.

    Raises:
        ParityError: The shapes differ, or a number is not finite.
    """
    if reference.shape != found.shape:
        raise ParityError(f"the artifact gives features of shape {found.shape}, PyTorch {reference.shape}")
    for who, features in (("PyTorch", reference), ("the artifact", found)):
        if bad := int((~np.isfinite(features)).sum()):
            remedy = "Check the weights" if who == "PyTorch" else ""
            raise ParityError(f"{bad} of {features.size} features by {who} are not finite", remedy)
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


def bounds_of(spec: ExportSpec) -> Bounds:
    """The bounds of a spec: those of its precision, and for a lossy one what it may lose."""
    bounds = BOUNDS[spec.precision]
    if not spec.lossy:
        return bounds
    return replace(bounds, knn_loss=spec.max_loss.knn_points, mean_cosine=spec.max_loss.cosine)


def broken(parity: Parity, bounds: Bounds) -> list[str]:
    """Name each bound that is broken, with both numbers; a NaN breaks all."""
    checks = (
        ("relative error", parity.relative_error, "<=", bounds.relative_error, ".2e"),
        ("smallest cosine", parity.min_cosine, ">=", bounds.min_cosine, ".6f"),
        ("k-NN agreement", parity.knn_agreement, ">=", bounds.knn_agreement, ".3f"),
        ("mean cosine", parity.mean_cosine, ">=", bounds.mean_cosine, ".6f"),
        ("k-NN loss in points", parity.knn_loss, "<=", bounds.knn_loss, ".2f"),
    )
    found = []
    for label, value, sign, bound, shown in checks:
        if bound is None:
            continue
        if value is None:
            found.append(f"{label} was not measured")
        elif not (value <= bound if sign == "<=" else value >= bound):
            found.append(f"{label} {value:{shown}} {'>' if sign == '<=' else '<'} {bound:g}")
    return found


def enforce(parity: Parity, bounds: Bounds, precision: str) -> None:
    """Refuse an artifact that breaks a bound.

    Raises:
        ParityError: Naming each broken bound.
    """
    if wrong := broken(parity, bounds):
        raise ParityError(f"the {precision} artifact does not compute what PyTorch computes: {'; '.join(wrong)}")


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
