"""The checker of an artifact: real images, what PyTorch makes of them, and what the artifact makes of them.

The images are the embedded photographs and pictures unless others are named, so that the check needs no network and no
data. PyTorch is fed by the preprocessing that evaluation uses, not by the exported module, so a wrong mean in the graph
is found too. The features by PyTorch are computed once, however many candidates are judged.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.base.notes import say_once
from lowzoo.base.printable import printable
from lowzoo.data.pixels.channels import of_colours
from lowzoo.data.pixels.decode import decode_rgb
from lowzoo.data.source import Images, ImageSource, open_set
from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.export.parity.parity import Parity, compare, pooled, together
from lowzoo.export.parity.runnable import Array, Image, Runnable, outputs_of
from lowzoo.export.spec.bounds import ParityError
from lowzoo.features.votes import TEMPERATURE, votes
from lowzoo.preprocess.transform import preprocess
from lowzoo.zoo.resolve import Resolved

PICTURES = 60
KNN_PICTURES = 512
KNN_K = 10
# Of feature maps so many numbers are kept, 256 MB, and of at least so many images.
_MOST_NUMBERS = 2**26
_LEAST_IMAGES = 8


class ParityChecker:
    """Compares artifacts with one network.

    Args:
        resolved: The network.
        data: Labelled images (SRC) for the k-NN loss; the sample set if None.
        knn_pictures: How many of them.
        pictures: How many every artifact is run on, beside the embedded photographs.
        say: Takes a line on what is being done, where a search takes its time.
    """

    def __init__(
        self,
        resolved: Resolved,
        data: Images = None,
        knn_pictures: int = KNN_PICTURES,
        pictures: int = PICTURES,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.resolved = resolved
        self.say = say
        self._data = data
        self._knn_pictures, self._pictures = knn_pictures, pictures

    @property
    def stand_ins(self) -> bool:
        """Whether the pictures lack the network's channels, so that colours stand in for them."""
        return self._data is None and self.resolved.input_size[0] not in (1, 3)

    @functools.cached_property
    def images(self) -> list[Image]:
        """What every artifact is run on: fewer than wanted where feature maps would fill the memory."""
        numbers = sum(math.prod(each.shape) for each in self.resolved.features)
        most = max(_LEAST_IMAGES, _MOST_NUMBERS // numbers) if numbers else None
        pictures = self._pictures if most is None else min(self._pictures, most - len(demonstration_photos()))
        return real_images(pictures, self._data, self.resolved.input_size[0])

    @functools.cached_property
    def reference(self) -> tuple[Array, ...]:
        """By PyTorch for `images`: (N, D) of a network, (N, C, H, W) of each of its feature maps."""
        return torch_outputs(self.resolved, self.images)

    def parity(self, artifact: Runnable, *, with_knn: bool) -> Parity:
        """Measure an artifact.

        Args:
            artifact: What to run.
            with_knn: Measure the k-NN loss too.

        Raises:
            ParityError: It does not run, or gives something else than as many finite numbers.
        """
        found = outputs_of(artifact, self.images, self.resolved)
        outputs = compared(self.resolved, _as(self.reference, artifact), found, artifact.engine)
        if with_knn:
            losses, images = self._knn_losses(artifact), len(self._labelled[0])
            outputs = [
                dataclasses.replace(one, knn_loss=loss, knn_images=images)
                for one, loss in zip(outputs, losses, strict=True)
            ]
        return together(outputs) if self.resolved.features else outputs[0]

    def knn_loss(self, artifact: Runnable) -> float:
        """Points of leave-one-out k-NN accuracy (k = 10) that an artifact loses; below 0 if it gains.

        Of several outputs the most.

        Raises:
            LowzooError: The data have no labels.
        """
        return max(self._knn_losses(artifact))

    def _knn_losses(self, artifact: Runnable) -> list[float]:
        images, labels, reference = self._labelled
        found = outputs_of(artifact, images, self.resolved, pooled)
        if not all(np.isfinite(rows).all() for rows in found):
            raise ParityError("features by the artifact are not finite", "Check the weights")
        return [
            leave_one_out(exact, labels) - leave_one_out(rows, labels)
            for exact, rows in zip(_as(reference, artifact), found, strict=True)
        ]

    @functools.cached_property
    def _labelled(self) -> tuple[list[Image], torch.Tensor, tuple[Array, ...]]:
        images, labels, *_ = labelled_pictures(self._data, self._knn_pictures, self.resolved.input_size[0])
        return images, labels, torch_outputs(self.resolved, images, pooled)


def labelled_pictures(data: Images, most: int, channels: int) -> tuple[list[Image], torch.Tensor, list[str], str]:
    """Pictures for leave-one-out k-NN, their classes (N,), their places, and what the set is called.

    Raises:
        LowzooError: It has no labels, too few pictures, or such that k-NN is right or wrong whatever the features are.
    """
    source = open_part(data, "train")
    labels = source.require_labels()
    chosen = spread(len(source), most)
    if len(chosen) <= KNN_K:
        raise LowzooError(f"{len(chosen)} labelled images are too few for k-NN", "Name a larger set")
    _, counts = np.unique(labels[chosen], return_counts=True)
    if len(counts) < 2 or counts.max() < 2:
        one = "are of one class, so that every answer is right"
        all_ = "are of a class each, so that every answer is wrong"
        raise LowzooError(
            f"the {len(chosen)} images of {source.name} {one if len(counts) < 2 else all_}, whatever the features are",
            "Name a set of two classes and more, with several images of each",
        )
    pictures, places = (
        [decoded(source, i, channels, data) for i in chosen],
        [printable(source.where(i)) for i in chosen],
    )
    return pictures, torch.from_numpy(labels[chosen]), places, source.name


def real_images(pictures: int = PICTURES, data: Images = None, channels: int = 3) -> list[Image]:
    """The embedded photographs, then pictures spread over the data or the sample set.

    Each is (h, w, 3) RGB for a network of 1 or 3 channels. For another number the pictures are those of the data alone,
    with their own bands; without data, colours that are repeated, see `lowzoo.data.pixels.channels`.
    """
    source = open_part(data, "validation")
    own = [decoded(source, i, channels, data) for i in spread(len(source), pictures)]
    if data is not None and channels not in (1, 3):
        return own
    return [of_colours(decode_rgb(content, name), channels) for name, content in demonstration_photos()] + own


def decoded(source: ImageSource, index: int, channels: int, data: Images) -> Image:
    """Decode a picture of the data or, where they are None, of the sample set, for a network of so many channels."""
    if data is None:
        return of_colours(source.pixels(index), channels)
    return source.decoded(index, channels=channels).pixels


def torch_outputs(
    resolved: Resolved, images: list[Image], reduce: Callable[[Array], Array] = lambda found: found
) -> tuple[Array, ...]:
    """What PyTorch gives, one image at a time: (N, D) of a network, (N, C, H, W) of each of its feature maps."""
    rows = []
    dtype = next((each.dtype for each in resolved.model.parameters()), torch.float32)
    with torch.inference_mode():
        for image in images:
            found = resolved.model(preprocess(image, resolved)[None].to(dtype))
            rows.append([reduce(each.float().numpy()) for each in (found if isinstance(found, tuple) else (found,))])
    return tuple(np.concatenate(output) for output in zip(*rows, strict=True))


def compared(resolved: Resolved, reference: tuple[Array, ...], found: tuple[Array, ...], engine: str) -> list[Parity]:
    """Compare each output with PyTorch's.

    Raises:
        ParityError: They are not as many, differ in shape, or a number is not finite.
    """
    if len(found) != len(reference):
        raise ParityError(
            f"the artifact has {len(found)} outputs, PyTorch {len(reference)}",
            "Name the feature maps that its outputs are, from fine to coarse, by --features, or a file of one output",
        )
    names = [each.name for each in resolved.features] or [""]
    outputs = zip(reference, found, names, strict=True)
    return [compare(exact, given, engine, name) for exact, given, name in outputs]


def leave_one_out(features: Array, labels: torch.Tensor) -> float:
    """Accuracy in per cent of naming each image by its nearest others, votes weighted by exp(cosine / 0.07)."""
    x = torch.from_numpy(np.ascontiguousarray(features, np.float32))
    if len(x) <= KNN_K:
        raise LowzooError(f"{len(x)} labelled images are too few for the k-NN loss", "Name a larger set")
    unit = torch.nn.functional.normalize(x.double(), dim=1)
    cosine = unit @ unit.T
    cosine.fill_diagonal_(-torch.inf)
    values, indices = cosine.topk(KNN_K, dim=1)
    predicted = votes(values, labels[indices], ks=(KNN_K,), temperature=TEMPERATURE)[KNN_K]
    return 100 * (predicted == labels).double().mean().item()


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers below `count`, evenly spread."""
    step = max(1, count // max(1, wanted))
    return list(range(0, count, step))[:wanted]


def open_part(data: Images, split: str) -> ImageSource:
    """Open a split of the data, or the first one where that is not there, and say once what the data were made from."""
    images = open_set(data)
    source = images.open(split if split in images.splits else images.splits[0])
    if data is not None:
        for line in source.found.lines():
            say_once(printable(line))
    return source


def _as(reference: tuple[Array, ...], artifact: Runnable) -> tuple[Array, ...]:
    """PyTorch's rows in the artifact's terms: the softmax of the scores where it gives that."""
    if not artifact.probabilities:
        return reference
    return tuple(torch.from_numpy(rows).softmax(1).numpy() for rows in reference)
