"""The k-NN monitor: how good the student's features are, while it trains."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import ImageSource
from lowzoo.features.votes import knn_accuracy
from lowzoo.preprocess.transform import Preprocessing, to_uint8_input
from lowzoo.train.monitoring.progress import track
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD

K = 20
# 128 images of 64 px through MobileNetV2 take 170 MB.
_MOST_IMAGES, _MOST_PIXELS = 128, 128 * 64 * 64


class NotFinite(LowzooError):
    """Features that are no finite numbers."""


def images_at_once(side: int, device: torch.device) -> int:
    """Images in a forward pass that keeps nothing; on a CPU fewer where they are large, to take less than a step does.

    Args:
        side: Side in pixels at which the network sees them.
        device: Where it computes.
    """
    return _MOST_IMAGES if device.type != "cpu" else max(1, min(_MOST_IMAGES, _MOST_PIXELS // side**2))


def fixed_subset(source: ImageSource, limit: int, seed: int = 0) -> np.ndarray:
    """Indices of up to `limit` images in their order, drawn at random but always alike; of a stream, the first."""
    order = np.arange(len(source)) if source.streamed else np.random.default_rng(seed).permutation(len(source))
    return np.sort(order[:limit])


def read_squares(
    source: ImageSource, indices: Sequence[int], size: int, title: str = ""
) -> tuple[Tensor, np.ndarray, str]:
    """Images as one uint8 tensor (N, 3, size, size), their indices (N,), and the error of the first that is left out.

    They are prepared as evaluation prepares them for the finished run, whose configuration says the same.

    Args:
        source: The images.
        indices: Which of them.
        size: Side in pixels.
        title: What is shown meanwhile; nothing if empty.
    """
    spec = Preprocessing((3, size, size), IMAGENET_MEAN, IMAGENET_STD, "bicubic", 1.0)
    squares = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)
    kept: list[int] = []
    first_error = ""
    for index in track(indices, title) if title else indices:
        try:
            image = source.pixels(index)
        except BadImage as error:
            first_error = first_error or error.message
            continue
        squares[len(kept)] = torch.from_numpy(to_uint8_input(image, spec)).permute(2, 0, 1)
        kept.append(index)
    return squares[: len(kept)], np.array(kept, np.int64), first_error


def load_squares(source: ImageSource, limit: int, size: int, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    """A `fixed_subset` of up to `limit` images as one uint8 tensor (N, 3, size, size), and their indices (N,).

    Images that cannot be read are left out.

    Args:
        source: The images.
        limit: Images at most.
        size: Side in pixels.
        seed: Random seed of the subset.

    Raises:
        LowzooError: None of them can be read.
    """
    chosen = fixed_subset(source, limit, seed).tolist()
    squares, kept, first_error = read_squares(source, chosen, size, "loading images")
    if not len(kept):
        raise LowzooError(
            f"none of {len(chosen)} images of {source.name} can be read, the first: {first_error}", "Replace them"
        )
    return squares, kept


@torch.no_grad()
def features_of(
    backbone: nn.Module, squares_N3SS: Tensor, device: torch.device, autocast: Callable[[], Any], *, batch: int = 0
) -> Tensor:
    """Features (N, D) in fp32 on the CPU, in eval mode; the backbone's mode is put back.

    Args:
        backbone: (B, 3, S, S) to (B, D).
        squares_N3SS: uint8 images.
        device: Where the backbone is.
        autocast: Makes the context in which it computes.
        batch: Images in a forward pass; as many as `images_at_once` says if 0.

    Raises:
        NotFinite: Some are no numbers.
    """
    if not len(squares_N3SS):
        return torch.empty(0, 0)
    training = backbone.training
    backbone.eval()
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1) * 255
    out = []
    batch = batch or images_at_once(squares_N3SS.shape[-1], device)
    blocks = squares_N3SS.split(batch)
    for block in track(blocks, "computing features") if len(blocks) > 1 else blocks:
        images = ((block.to(device).float() - mean) / std).contiguous(memory_format=torch.channels_last)
        with autocast():
            out.append(backbone(images).float().cpu())
    backbone.train(training)
    return finite(torch.cat(out))


def finite(features_ND: Tensor) -> Tensor:
    """The same features.

    Raises:
        NotFinite: Some are no numbers; neighbours and ranks of such would be figures like any other.
    """
    bad = int((~torch.isfinite(features_ND)).any(1).sum())
    if bad:
        raise NotFinite(
            f"the features of {bad} of {len(features_ND)} images are no finite numbers",
            "The weights may be damaged, or too large for the precision: try --precision fp32",
        )
    return features_ND


def first_of_each(squares_N3SS: Tensor) -> Tensor:
    """Numbers of images of which no two are the same: the first one of each picture."""
    first: dict[bytes, int] = {}
    for number, digest in enumerate(_digests(squares_N3SS)):
        first.setdefault(digest, number)
    return torch.tensor(sorted(first.values()))


def _digests(squares_N3SS: Tensor) -> list[bytes]:
    return [sha256(image.numpy().tobytes()).digest() for image in squares_N3SS]


def why_no_knn(bank: ImageSource, queries: ImageSource | None) -> str:
    """Why held-out images cannot be classified by the training images; empty where they can be.

    Args:
        bank: Training images.
        queries: Held-out images; None where none could be spared.
    """
    if bank.labels is None:
        return "it needs labels"
    if len(np.unique(bank.labels[bank.labels >= 0])) < 2:
        return "all training images are of one class"
    if queries is None:
        return "it needs classes of several images"
    if queries.labels is None:
        return f"{queries.name} has no labels"
    try:
        known = queries.numbered_like(bank).labels
    except LowzooError as error:
        return error.message
    if known is None or not (known >= 0).any():
        return f"no image of {queries.name} is of a class that the training images have"
    return ""


class KnnMonitor:
    """Classifies held-out images by their neighbours in the training set; images are decoded once.

    Images without a class are left out, and so are held-out images of a class that the training set lacks, and those
    that are in the bank: each would find itself.

    Args:
        bank: Training images.
        queries: Held-out images, which may number their classes otherwise.
        size: Side of the network's input.
        limit_bank: Images of the bank used at most.
        limit_queries: Queries used at most.

    Raises:
        LowzooError: No image of either can be used.
    """

    def __init__(self, bank: ImageSource, queries: ImageSource, size: int, limit_bank: int, limit_queries: int) -> None:
        bank = bank.labelled()
        given = queries.labelled()
        known = given.numbered_like(bank).labelled()
        self.foreign = len(given) - len(known)
        self._bank, bank_kept = load_squares(bank, limit_bank, size)
        self._queries, query_kept = load_squares(known, limit_queries, size)
        self.unreadable = min(limit_bank, len(bank)) - len(bank_kept) + min(limit_queries, len(known)) - len(query_kept)
        known_squares = set(_digests(self._bank))
        new = torch.tensor([digest not in known_squares for digest in _digests(self._queries)])
        self.copies = len(new) - int(new.sum())
        self._queries, query_kept = self._queries[new], query_kept[new.numpy()]
        self._bank_labels = torch.from_numpy(bank.require_labels()[bank_kept])
        self._query_labels = torch.from_numpy(known.require_labels()[query_kept])
        self.k = min(K, len(self._bank))
        self.different = len(first_of_each(self._queries))

    @property
    def queries(self) -> int:
        """Number of images that are classified."""
        return len(self._queries)

    def notes(self) -> list[str]:
        """What a reader has to know about the figures."""
        foreign = f"{self.foreign} held-out images are of classes that the training images lack"
        unreadable = f"{self.unreadable} images cannot be read"
        copies = f"{self.copies} held-out images are training images, too"
        noted = ((self.foreign, foreign), (self.unreadable, unreadable), (self.copies, copies))
        return [note for number, note in noted if number]

    def measure(self, backbone: nn.Module, device: torch.device, autocast: Callable[[], Any]) -> tuple[float, Tensor]:
        """Top-1 in per cent at k = 20 (all of the bank where it is smaller), and the queries' features (N, D)."""
        bank = features_of(backbone, self._bank, device, autocast)
        queries = features_of(backbone, self._queries, device, autocast)
        return knn_accuracy(bank, self._bank_labels, queries, self._query_labels, ks=(self.k,))[self.k], queries
