"""The classes of a supervised teacher: a timm network is cut before its last layer, which becomes the head."""

import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError


class ClassifierHead(nn.Module):
    """The linear layer that gave a network its classes; its bottleneck is the feature itself.

    Args:
        layer: From D features to K classes.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_dim = layer.in_features
        self.layer = layer
        self.class_ids: Tensor | None = None

    def number_classes(self, ids: Tensor) -> None:
        """Let the classes be called by these ids (K,), ascending, instead of 0 to K - 1."""
        self.class_ids = ids

    def numbers(self, labels: Tensor) -> Tensor:
        """Ids (B,) -> 0 to K - 1."""
        return (
            labels
            if self.class_ids is None
            else torch.searchsorted(self.class_ids.to(labels.device, non_blocking=True), labels)
        )

    def bottleneck(self, x: Tensor) -> Tensor:
        """The features (N, D) themselves."""
        return x

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        logits: Tensor = self.layer(bottleneck)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, D) -> logits (N, K)."""
        return self.scores(self.bottleneck(x))


@torch.no_grad()
def cut_classifier(network: nn.Module, name: str, size: int) -> ClassifierHead:
    """Take the classifier off a timm network, which is headless afterwards.

    Args:
        network: In eval mode.
        name: Name of the teacher, for messages.
        size: Side of an image that it takes, in pixels.

    Raises:
        LowzooError: It has no classes, or what gives them is more than one linear layer over its features.
    """
    if not getattr(network, "num_classes", 0):
        raise no_classifier(name)
    probe = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = network(probe)
    layer = network.get_classifier()  # type: ignore[operator]
    network.reset_classifier(0)  # type: ignore[operator]
    features = network(probe)
    # Some networks average two classifiers or do something between the feature and the last layer: tried, not guessed.
    single = isinstance(layer, nn.Linear) and features.shape == (1, layer.in_features)
    if not single or (layer(features) - expected).abs().max() > 1e-3 * expected.abs().max():
        raise LowzooError(
            f"the classes of teacher {name} come from more than one linear layer over its features",
            "Name another supervised teacher, e.g. deit_small_patch16_224",
        )
    return ClassifierHead(layer)


def no_classifier(name: str) -> LowzooError:
    """What to raise for a teacher that knows no classes."""
    return LowzooError(
        f"teacher {name} has no classifier, and supervised distillation needs one",
        "Name a model that was trained with labels, e.g. deit_small_patch16_224",
    )
