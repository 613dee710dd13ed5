"""What an artifact must keep of what PyTorch computes, by precision.

fp32 differs by the order of additions alone: about 1e-6 is usual, 1e-4 leaves room for other CPUs. fp16 rounds
every value to 11 bits. Below that the features move visibly, so what counts is whether they still find the right
neighbours: leave-one-out k-NN accuracy on labelled images, in points lost, which `--max-loss` bounds.
"""

from dataclasses import dataclass

from lowzoo.base.errors import LowzooError


@dataclass(frozen=True)
class Bounds:
    """What an artifact must keep; None for no bound.

    Args:
        relative_error: At most.
        min_cosine: At least, for every image.
        knn_agreement: At least.
        knn_loss: Points of leave-one-out k-NN accuracy, at most.
        mean_cosine: At least.
    """

    relative_error: float | None = None
    min_cosine: float | None = None
    knn_agreement: float | None = None
    knn_loss: float | None = None
    mean_cosine: float | None = None


BOUNDS = {
    "fp32": Bounds(relative_error=1e-4, min_cosine=0.9999, knn_agreement=1.0),
    "fp16": Bounds(relative_error=5e-2, min_cosine=0.9995, knn_agreement=0.9),
    "int8": Bounds(min_cosine=0.8),
    "int8-dynamic": Bounds(min_cosine=0.8),
    "palette6": Bounds(min_cosine=0.8),
    "palette4": Bounds(min_cosine=0.8),
}


class ParityError(LowzooError):
    """An artifact that does not compute what PyTorch computes; no misuse, so the command line exits with 1."""

    status = 1
