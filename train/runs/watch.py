"""What a run measures of its student on the way: k-NN where labels allow it, and what needs none."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo.data.source import ImageSource
from lowzoo.train.monitoring.label_free import LabelFreeMonitor
from lowzoo.train.monitoring.monitor import K, KnnMonitor, why_no_knn
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.teacher_cache.frozen import FrozenTeacher

_Context = Callable[[], AbstractContextManager[Any]]


class Watch:
    """The monitors of a run; their images are decoded once.

    Args:
        config: Resolved configuration.
        source: Training images.
        held_out: Images that the student is not trained on; None where none can be spared.
        teacher: Whose neighbours the student's are compared with; None for a recipe without one.
        device: Where the networks are.
        autocast: Makes the context in which they compute.
        say: Called with one line of text for the reader.

    Raises:
        LowzooError: No image can be used.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: ImageSource,
        held_out: ImageSource | None,
        teacher: FrozenTeacher | None,
        device: torch.device,
        autocast: _Context,
        say: Callable[[str], None],
    ) -> None:
        self._device, self._autocast = device, autocast
        self._knn: KnnMonitor | None = None
        if held_out is not None and not why_no_knn(source, held_out):
            self._knn = KnnMonitor(source, held_out, config.global_size, config.monitor_bank, config.monitor_queries)
            for note in self._knn.notes():
                say(f"Left out of the k-NN monitor: {note}")
            if not self._knn.queries:
                say("No k-NN monitor: no held-out image is left")
                self._knn = None
        self._label_free = LabelFreeMonitor(held_out if held_out is not None else source, config.global_size)
        if teacher is not None and (taught := config.taught) is not None:
            side = taught.teacher_size or config.global_size
            self._label_free.follow(teacher.teacher.backbone, side, device, autocast)

    @property
    def neighbours(self) -> int:
        """Neighbours that vote in the k-NN monitor, its k."""
        return self._knn.k if self._knn else K

    def counts(self) -> dict[str, int]:
        """Number of images that each figure is a mean over."""
        label_free = len(self._label_free)
        knn = {"knn": self._knn.queries} if self._knn else {}
        return {**knn, "teacher_neighbours": label_free, "own_view": label_free}

    def measure(self, backbone: nn.Module) -> tuple[dict[str, float], Tensor, int]:
        """The figures of a student, its features (N, D) of held-out images, and how many of these are different.

        Raises:
            NotFinite: Features are no finite numbers.
        """
        figures, features = self._label_free.measure(backbone, self._device, self._autocast)
        if self._knn is None:
            return figures, features, self._label_free.different
        knn, features = self._knn.measure(backbone, self._device, self._autocast)
        return {**figures, "knn": round(knn, 3)}, features, self._knn.different
