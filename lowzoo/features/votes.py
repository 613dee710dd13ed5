"""k-nearest-neighbour classification of frozen features: cosine similarity, votes weighted by exp(similarity / T).

The protocol of DINO (Caron et al., arXiv 2104.14294, `eval_knn.py`) with T = 0.07 and k in {10, 20, 100, 200}.
Shapes: N bank features, M queries, D dimensions, K neighbours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowzoo.features.neighbours import BLOCK, CHUNK, check_k, nearest_neighbours

KS = (10, 20, 100, 200)
TEMPERATURE = 0.07

__all__ = ["KS", "TEMPERATURE", "check_k", "knn_accuracy", "knn_predictions", "nearest_neighbours", "votes"]


def knn_predictions(
    bank_ND: Tensor,
    bank_labels_N: Tensor,
    queries_MD: Tensor,
    *,
    ks: Sequence[int] = KS,
    temperature: float = TEMPERATURE,
    chunk: int = CHUNK,
    block: int = BLOCK,
    devices: Sequence[str | torch.device] = (),
) -> dict[int, Tensor]:
    """Predict classes (M,) for every k, all from one search for the largest k; of equal votes the lower class wins.

    Args:
        bank_ND: Features whose labels are known, on the CPU where `devices` are given.
        bank_labels_N: int64, from 0.
        queries_MD: Features to classify.
        ks: Numbers of neighbours.
        temperature: Temperature of the vote weights.
        chunk: Queries compared at a time.
        block: Bank features compared at a time.
        devices: Where to search; that of the queries if empty.

    Raises:
        LowzooError: A k below 1 or above the size of the bank.
    """
    for k in ks:
        check_k(k, len(bank_ND))
    if not len(queries_MD):
        return dict.fromkeys(ks, bank_labels_N[:0])
    similarity_MK, nearest_MK = nearest_neighbours(
        bank_ND, queries_MD, max(ks), chunk=chunk, block=block, devices=devices
    )
    return votes(similarity_MK, bank_labels_N[nearest_MK], ks=ks, temperature=temperature)


def votes(
    similarity_MK: Tensor, labels_MK: Tensor, *, ks: Sequence[int] = KS, temperature: float = TEMPERATURE
) -> dict[int, Tensor]:
    """Predict classes (M,) for every k from the similarities and labels of neighbours, nearest first."""
    # Relative to the nearest: the same order of votes, and no overflow however small the temperature.
    weights_MK = ((similarity_MK - similarity_MK[:, :1]) / temperature).exp()
    ids, numbers_MK = labels_MK.unique(return_inverse=True)  # the classes that are there, however large their ids
    predictions: dict[int, Tensor] = {}
    for k in ks:
        blocks = zip(numbers_MK[:, :k].split(CHUNK), weights_MK[:, :k].split(CHUNK), strict=True)
        predictions[k] = torch.cat(
            [
                ids[weights.new_zeros(len(weights), len(ids)).scatter_add_(1, numbers, weights).argmax(1)]
                for numbers, weights in blocks
            ]
        )
    return predictions


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
