"""A frozen teacher: a backbone, the head that makes its targets, and the facts that a card must state."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.base.errors import LowzooError
from lowzoo.train.heads import FittedHead
from lowzoo.train.kernels.precision import full


@dataclass(frozen=True)
class TeacherFacts:
    """What a run, a card and the catalog state of a teacher.

    Args:
        name: The word that named it.
        architecture: timm's name of its backbone, or what the word resolved to.
        revision: Which weights exactly.
        training: How the backbone was trained.
        license: SPDX identifier, empty if not known.
        derivatives_may_be_published: Whether that licence lets students be published; None if not known.
        head: "own (<kind>)" or "fitted: ...".
        extension: True when the head was fitted, which the paper does not do.
        prototypes: Number of scores K.
    """

    name: str
    architecture: str
    revision: str
    training: str
    license: str
    derivatives_may_be_published: bool | None = None
    head: str = ""
    extension: bool = False
    prototypes: int = 0

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


class Teacher(nn.Module):
    """A frozen backbone and its head; always in eval mode, never trained.

    Args:
        backbone: Headless network.
        head: Features (N, D) to scores (N, K); None until one is fitted.
        facts: See `TeacherFacts`.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module | None, facts: TeacherFacts) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.facts = facts
        self.layout = torch.channels_last
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode whatever a parent does: batch norms must not move."""
        return super().train(False)

    def fitted_head(self) -> FittedHead:
        """The head, where it was fitted."""
        if not isinstance(self.head, FittedHead):
            raise TypeError(f"the head of {self.facts.name} was not fitted")
        return self.head

    @torch.no_grad()
    def forward(self, views_GB3SS: Tensor) -> Tensor:
        """Scores (G, B, K) of views; the head computes in fp32."""
        return self.scores(self.bottleneck(views_GB3SS))

    def bottleneck(self, views_GB3SS: Tensor) -> Tensor:
        """What the head's last layer sees of views, (G, B, D') in fp32: all that a cache has to keep."""
        return self.narrowed(self.features(views_GB3SS))

    @torch.no_grad()
    def features(self, views_GB3SS: Tensor) -> Tensor:
        """Features (G, B, D) of views in fp32."""
        images = views_GB3SS.flatten(0, 1).contiguous(memory_format=self.layout)
        features: Tensor = full(self.backbone(images)).unflatten(0, views_GB3SS.shape[:2])
        return features

    @torch.no_grad()
    def narrowed(self, features_GBD: Tensor) -> Tensor:
        """What the head's last layer sees of features, (G, B, D') in fp32."""
        with torch.autocast(features_GBD.device.type, enabled=False):
            narrow: Tensor = self._head().bottleneck(features_GBD.flatten(0, 1)).unflatten(0, features_GBD.shape[:2])
        return narrow

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Scores (..., K) in fp32 of bottlenecks (..., D'), the teacher's own or somebody else's."""
        with torch.autocast(bottleneck.device.type, enabled=False):
            scores: Tensor = self._head().scores(bottleneck)
        return scores

    @torch.no_grad()
    def forward_patches(self, views_GB3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (G, B, K) of the class tokens and (G, B, N, K) of the patches.

        Raises:
            LowzooError: The head knows no patches.
        """
        head = self._head()
        if not hasattr(head, "patch_scores"):
            raise LowzooError(f"the head of teacher {self.facts.name} scores no patches", "Choose an iBOT teacher")
        tokens = full(self.backbone.forward_features(views_GB3SS.flatten(0, 1)))  # type: ignore[operator]
        with torch.autocast(tokens.device.type, enabled=False):
            cls, patches = head(tokens[:, 0]), head.patch_scores(tokens[:, 1:])
        return cls.unflatten(0, views_GB3SS.shape[:2]), patches.unflatten(0, views_GB3SS.shape[:2])

    @property
    def bottleneck_width(self) -> int:
        """Width D' of what `bottleneck` gives."""
        head = self._head()
        device = next(iter(head.state_dict().values())).device
        with torch.no_grad():
            return int(head.bottleneck(torch.zeros(1, head.in_dim, device=device)).shape[-1])

    def checksum(self) -> str:
        """SHA-256 over all parameters and buffers, by name; one tensor at a time in the host's memory."""
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def _head(self) -> Any:
        if self.head is None:
            raise LowzooError(f"teacher {self.facts.name} has no head", "Use --teacher-head fitted")
        return self.head
