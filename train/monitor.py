"""The k-NN monitor: how good the student's features are, while it trains."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowzoo.data.decode import BadImage, decode_rgb
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.knn import knn_accuracy
from lowzoo.evaluate.preprocess import Preprocessing, to_uint8_input
from lowzoo.train.progress import track
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD

K = 20


def load_squares(
    source: ImageSource, limit: int, size: int, seed: int = 0, *, title: str = "loading images"
) -> tuple[Tensor, np.ndarray]:
    """Up to `limit` images as one uint8 tensor (N, 3, size, size), and their indices (N,).

    They are prepared as evaluation prepares them for the finished run, whose configuration says the same. A fixed
    random subset where the source holds more; images that cannot be read are left out.
    """
    order = np.random.default_rng(seed).permutation(len(source))[:limit]
    spec = Preprocessing((3, size, size), IMAGENET_MEAN, IMAGENET_STD, "bicubic", 1.0)
    squares, kept = [], []
    for index in track(np.sort(order).tolist(), title):
        try:
            image = decode_rgb(source.encoded(index), source.where(index))
        except BadImage:
            continue
        squares.append(torch.from_numpy(to_uint8_input(image, spec)).permute(2, 0, 1))
        kept.append(index)
    return torch.stack(squares), np.array(kept, np.int64)


@torch.no_grad()
def features_of(
    backbone: nn.Module, squares_N3SS: Tensor, device: torch.device, autocast: Callable[[], Any], *, batch: int = 128
) -> Tensor:
    """Features (N, D) in fp32 on the processor, in eval mode; the backbone's mode is put back.

    Args:
        backbone: (B, 3, S, S) to (B, D).
        squares_N3SS: uint8 images.
        device: Where the backbone is.
        autocast: Makes the context in which it computes.
        batch: Images in a forward pass.
    """
    training = backbone.training
    backbone.eval()
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1) * 255
    out = []
    for block in track(squares_N3SS.split(batch), "computing features"):
        images = ((block.to(device).float() - mean) / std).contiguous(memory_format=torch.channels_last)
        with autocast():
            out.append(backbone(images).float().cpu())
    backbone.train(training)
    return torch.cat(out)


class KnnMonitor:
    """Classifies held-out images by their neighbours in the training set; images are decoded once.

    Args:
        bank: Labelled training images.
        queries: Labelled held-out images.
        size: Side of the network's input.
        limit_bank: Images of the bank used at most.
        limit_queries: Queries used at most.
    """

    def __init__(self, bank: ImageSource, queries: ImageSource, size: int, limit_bank: int, limit_queries: int) -> None:
        self._bank, bank_kept = load_squares(bank, limit_bank, size)
        self._queries, query_kept = load_squares(queries, limit_queries, size)
        self._bank_labels = torch.from_numpy(bank.require_labels()[bank_kept])
        self._query_labels = torch.from_numpy(queries.require_labels()[query_kept])
        self.k = min(K, len(self._bank))

    def measure(self, backbone: nn.Module, device: torch.device, autocast: Callable[[], Any]) -> tuple[float, Tensor]:
        """Top-1 in per cent at k = 20 (all of the bank where it is smaller), and the queries' features (N, D)."""
        bank = features_of(backbone, self._bank, device, autocast)
        queries = features_of(backbone, self._queries, device, autocast)
        return knn_accuracy(bank, self._bank_labels, queries, self._query_labels, ks=(self.k,))[self.k], queries
