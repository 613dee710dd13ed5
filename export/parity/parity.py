"""Parity: two sets of features of the same images, measured and held against bounds.

"Relative error" is the largest absolute difference over the largest absolute feature; "k-NN agreement" is the fraction
of images whose nearest neighbour among the others (cosine) is the same by both sets of features, or as near by
PyTorch's. A feature map (C, H, W) is compared number by number, and its neighbours are found by its means over the
positions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowzoo.export.parity.runnable import Array
from lowzoo.export.spec.bounds import BOUNDS, Bounds, ParityError
from lowzoo.export.spec.spec import ExportSpec

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
        knn_agreement: Fraction of images with the same nearest neighbour up to ties, in [0, 1].
        engine: What ran the artifact, with its version.
        knn_loss: Points of leave-one-out k-NN accuracy lost; None where it was not measured.
        knn_images: Number of labelled images that it was measured on.
        name: Name of the output, where the file gives feature maps.
        outputs: Each output of a file of feature maps by itself; every number above is then that of the worst.
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
    name: str = ""
    outputs: tuple["Parity", ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def compare(reference: Array, found: Array, engine: str, name: str = "") -> Parity:
    """Measure two sets of features (N, D), or of feature maps (N, C, H, W), of the same images.

    Raises:
        ParityError: The shapes differ, or a number is not finite.
    """
    of = f" of {name}" if name else ""
    if reference.shape != found.shape:
        raise ParityError(
            f"the artifact gives features{of} of shape {found.shape}, PyTorch {reference.shape}",
            "Name the network that it was made from",
        )
    for who, features in (("PyTorch", reference), ("the artifact", found)):
        if bad := int((~np.isfinite(features)).sum()):
            remedy = "Check the weights" if who == "PyTorch" else ""
            raise ParityError(f"{bad} of {features.size} features{of} by {who} are not finite", remedy)
    largest, total, cosines = 0.0, 0.0, []
    for left, right in zip(reference, found, strict=True):  # one at a time: maps are large, and twice so in float64
        wide_left, wide_right = left.ravel().astype(np.float64), right.ravel().astype(np.float64)
        difference = np.abs(wide_left - wide_right)
        largest, total = max(largest, float(difference.max())), total + float(difference.sum())
        cosines.append(_cosine(wide_left, wide_right))
    return Parity(
        images=len(reference),
        max_error=largest,
        mean_error=total / reference.size,
        relative_error=largest / max(float(np.abs(reference).max()), 1e-12),
        min_cosine=min(cosines),
        mean_cosine=sum(cosines) / len(cosines),
        knn_agreement=_knn_agreement(_unit(pooled(reference)), _unit(pooled(found))),
        engine=engine,
        name=name,
    )


def together(outputs: Sequence[Parity]) -> Parity:
    """One judgement of several outputs: of each number the worst, with each output by itself."""
    losses = [one.knn_loss for one in outputs if one.knn_loss is not None]
    return Parity(
        images=outputs[0].images,
        max_error=max(one.max_error for one in outputs),
        mean_error=max(one.mean_error for one in outputs),
        relative_error=max(one.relative_error for one in outputs),
        min_cosine=min(one.min_cosine for one in outputs),
        mean_cosine=min(one.mean_cosine for one in outputs),
        knn_agreement=min(one.knn_agreement for one in outputs),
        engine=outputs[0].engine,
        knn_loss=max(losses) if losses else None,
        knn_images=outputs[0].knn_images,
        outputs=tuple(outputs),
    )


def pooled(features: Array) -> Array:
    """Rows (B, D) as they are; of maps (B, C, H, W) the means over the positions, (B, C)."""
    return features if features.ndim == 2 else features.mean((2, 3))


def bounds_of(spec: ExportSpec) -> Bounds:
    """The bounds of a spec: those of its precision, and for a lossy one what it may lose."""
    bounds = spec.kind.bounds.get(spec.precision) or BOUNDS[spec.precision]
    if not spec.lossy:
        return bounds
    return replace(bounds, knn_loss=spec.max_loss.knn_points, mean_cosine=spec.max_loss.cosine)


def broken(parity: Parity, bounds: Bounds) -> list[str]:
    """Name each bound that is broken, with both numbers and the output if there are several; a NaN breaks all."""
    if parity.outputs:
        return [f"{one.name}: {wrong}" for one in parity.outputs for wrong in broken(one, bounds)]
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


def _unit(features: Array) -> NDArray[np.float64]:
    wide = features.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit


def _cosine(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """0 where either is: dead features agree with nothing."""
    unit_left, unit_right = (each / max(float(np.linalg.norm(each)), 1e-12) for each in (left, right))
    return float(unit_left @ unit_right)


def _knn_agreement(reference: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    similarity, picked = _similarity(reference), _similarity(found).argmax(1)
    lost = similarity.max(1) - similarity[np.arange(len(picked)), picked]
    return float((lost <= _TIE).mean())


def _similarity(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines (N, N) of the rows, none with itself."""
    similarity: NDArray[np.float64] = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity
