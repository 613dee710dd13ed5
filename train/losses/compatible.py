"""A student that keeps another model's index: the cosine distance to what that model says of the same view.

For a view with the student's mapped feature m and the model's embedding e, L = 1 - cos(m, e); the mean over all views.
An index compares directions, so lengths are free.
"""

from torch import Tensor
from torch.nn.functional import cosine_similarity


def compatible_loss(mapped_VBE: Tensor, target_VBE: Tensor) -> Tensor:
    """Mean cosine distance; scalar in [0, 2].

    Args:
        mapped_VBE: The student's features in the model's space, fp32.
        target_VBE: The model's embeddings of the same views, fp32, without gradient.
    """
    return (1 - cosine_similarity(mapped_VBE, target_VBE, dim=-1)).mean()
