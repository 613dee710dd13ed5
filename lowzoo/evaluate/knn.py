"""k-nearest-neighbour classification of frozen features: cosine similarity, votes weighted by exp(similarity / T).

The protocol of DINO (Caron et al., arXiv 2104.14294, `eval_knn.py`) with T = 0.07 and k in {10, 20, 100, 200}.
Shapes: N bank features, M queries, D dimensions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lowzoo.errors import LowzooError

KS = (10, 20, 100, 200)
TEMPERATURE = 0.07


def check_k(k: int, bank: int) -> None:
    """Refuse a number of neighbours below 1 or above the size of the bank."""
    if not 1 <= k <= bank:
        raise LowzooError(f"k = {k} neighbours cannot be found among {bank}", f"Choose k between 1 and {bank}")


def nearest_neighbours(bank_ND: Tensor, queries_MD: Tensor, k: int, *, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """Find the k nearest bank features of every query.

    Args:
        bank_ND: Normalised here.
        queries_MD: Normalised here.
        k: Number of neighbours.
        chunk: Queries compared at a time, which bounds memory to chunk x N similarities.

    Returns:
        Cosine similarities (M, k), falling, and indices into the bank (M, k).

    Raises:
        LowzooError: k is below 1 or above the size of the bank.
    """
    check_k(k, len(bank_ND))
    bank_DN = normalize(bank_ND, dim=1).T
    queries = normalize(queries_MD, dim=1)
    found = [(queries[i : i + chunk] @ bank_DN).topk(k, dim=1) for i in range(0, len(queries), chunk)]
    return torch.cat([values for values, _ in found]), torch.cat([indices for _, indices in found])


def knn_predictions(
    bank_ND: Tensor,
    bank_labels_N: Tensor,
    queries_MD: Tensor,
    *,
    ks: Sequence[int] = KS,
    temperature: float = TEMPERATURE,
    chunk: int = 1024,
) -> dict[int, Tensor]:
    """Predict classes (M,) for every k, all from one search for the largest k; of equal votes the lower class wins.

    Args:
        bank_ND: Features whose labels are known.
        bank_labels_N: int64, from 0.
        queries_MD: Features to classify.
        ks: Numbers of neighbours.
        temperature: Of the vote weights.
        chunk: Queries compared at a time.

    Raises:
        LowzooError: A k below 1 or above the size of the bank.
    """
    for k in ks:
        check_k(k, len(bank_ND))
    similarity_MK, nearest_MK = nearest_neighbours(bank_ND, queries_MD, max(ks), chunk=chunk)
    labels_MK = bank_labels_N[nearest_MK]
    # Relative to the nearest: the same order of votes, and no overflow however small the temperature.
    weights_MK = ((similarity_MK - similarity_MK[:, :1]) / temperature).exp()
    votes_MC = torch.zeros(len(queries_MD), int(bank_labels_N.max()) + 1, device=weights_MK.device)
    return {k: votes_MC.zero_().scatter_add_(1, labels_MK[:, :k], weights_MK[:, :k]).argmax(1) for k in ks}


def knn_accuracy(
    bank_ND: Tensor,
    bank_labels_N: Tensor,
    queries_MD: Tensor,
    query_labels_M: Tensor,
    *,
    ks: Sequence[int] = KS,
    temperature: float = TEMPERATURE,
) -> dict[int, float]:
    """Top-1 accuracy in per cent for every k; see `knn_predictions`."""
    predictions = knn_predictions(bank_ND, bank_labels_N, queries_MD, ks=ks, temperature=temperature)
    return {k: 100 * (found == query_labels_M).double().mean().item() for k, found in predictions.items()}
