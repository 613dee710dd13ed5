"""Multinomial logistic regression with an L2 penalty, solved by scikit-learn's L-BFGS in double precision."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.sets.subsets import folds

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LogisticSettings:
    """How a publication classifies few images.

    Args:
        scaling: Features standardised by the training images, or each vector centred and brought to unit length.
        strengths: Candidates of the penalty lambda; chosen among by cross-validation on the training images.
        fallback: Lambda where there is one image of each class, so that nothing can be held out.
        per_image: scikit-learn's C, which multiplies the summed losses, is N / lambda; otherwise 1 / lambda.
        intercept: Whether each class has an offset.
        max_iter: Steps of the solver at most.
    """

    scaling: Literal["standardise", "centre_unit"]
    strengths: tuple[float, ...]
    fallback: float
    per_image: bool
    intercept: bool
    max_iter: int

    def penalty(self, strength: float, images: int) -> float:
        """scikit-learn's C."""
        return images / strength if self.per_image else 1 / strength


# RoB: VISSL's low_shot_transfer; which lambda gave the published figures is not known, so the fallback is ours.
# MSN: logistic_eval.py and its README command.
LOGISTIC = {
    "rob": LogisticSettings("standardise", (1.0, 0.1, 0.01, 0.001), 0.1, per_image=True, intercept=True, max_iter=300),
    "msn": LogisticSettings("centre_unit", (0.0025,), 0.0025, per_image=False, intercept=False, max_iter=300),
}


def require_scikit_learn() -> None:
    """Refuse to begin where the solver is missing."""
    try:
        import sklearn.linear_model  # noqa: F401
    except ImportError as error:
        raise LowzooError("low-shot evaluation needs scikit-learn", "Run: pip install 'lowzoo[eval]'") from error


def scaled(train: Floats, test: Floats, settings: LogisticSettings) -> tuple[Floats, Floats]:
    """Features (N, D) and (M, D) as the classifier takes them."""
    if settings.scaling == "standardise":
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        deviation[deviation == 0] = 1
        return (train - mean) / deviation, (test - mean) / deviation
    return _centred_unit(train), _centred_unit(test)


def classify(
    train: Floats, labels: Labels, test: Floats, settings: LogisticSettings, strength: float
) -> tuple[Labels, bool]:
    """Fit on features (N, D) with labels (N,) and predict classes (M,); also whether the solver has converged."""
    train_x, test_x = scaled(train, test, settings)
    model = _model(settings, settings.penalty(strength, len(labels)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(train_x, labels)
    predictions: Labels = model.predict(test_x)
    return predictions, not any("onverge" in str(warning.message) for warning in caught)


def choose(train: Floats, labels: Labels, settings: LogisticSettings, seed: int) -> tuple[float, list[float]]:
    """Choose lambda by cross-validation on the training images.

    Returns:
        Lambda, and the accuracy of each candidate in per cent; none where there was nothing to choose.
    """
    masks = folds(labels, seed)
    if len(settings.strengths) == 1 or not masks:
        return settings.fallback, []
    accuracies = []
    for strength in settings.strengths:
        right = held = 0
        for out in masks:
            predictions, _ = classify(train[~out], labels[~out], train[out], settings, strength)
            right += int((predictions == labels[out]).sum())
            held += int(out.sum())
        accuracies.append(100 * right / held)
    return settings.strengths[int(np.argmax(accuracies))], accuracies


def _model(settings: LogisticSettings, penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, fit_intercept=settings.intercept, max_iter=settings.max_iter)


def _centred_unit(x: Floats) -> Floats:
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))
