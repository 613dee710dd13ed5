"""A frozen teacher in a run: in the run's precision, and through a cache where there is one."""

from collections.abc import Callable

import torch
from torch import Tensor

from lowzoo.train.kernels.precision import full
from lowzoo.train.networks.step import StepContext, Views
from lowzoo.train.teacher_cache.cache import CacheWriteError, TeacherCache
from lowzoo.train.teachers import Teacher, TeacherFacts
from lowzoo.train.teachers.classifier import ClassifierHead


class FrozenTeacher:
    """Makes targets; holds the teacher outside the module tree, so that no checkpoint contains it.

    Args:
        teacher: With its head, on its device.
        cache: Bottlenecks of global views seen before.
        say: Receives a line of text when the cache takes nothing more.
    """

    def __init__(
        self, teacher: Teacher, cache: TeacherCache | None = None, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.teacher = teacher
        self.cache = cache
        self._say = say
        self._filling = True
        # Whether somebody else needs features of the views that targets are made for, too; the last ones, then.
        self.shares_features = False
        self._seen: tuple[Tensor, Tensor] | None = None

    @property
    def facts(self) -> TeacherFacts:
        """What a card states of the teacher."""
        return self.teacher.facts

    @property
    def width(self) -> int:
        """Width of the embeddings that `embed` gives."""
        return self.teacher.bottleneck_width

    def scores(self, views: Views, now: StepContext, count: int) -> Tensor:
        """Scores (count, B, K) in fp32 of the first `count` global views."""
        return self.teacher.scores(self.embed(views, now)[:count] if self.cache else self._compute(views, now, count))

    def class_numbers(self, labels: Tensor) -> Tensor:
        """The teacher's outputs (B,) that the source's class ids (B,) mean."""
        head = self.teacher.head
        return head.numbers(labels) if isinstance(head, ClassifierHead) else labels

    def score(self, bottleneck: Tensor) -> Tensor:
        """Scores of somebody else's bottlenecks; gradients flow to them, not to the teacher."""
        return self.teacher.scores(full(bottleneck))

    def embed(self, views: Views, now: StepContext) -> Tensor:
        """Embeddings (G, B, D') in fp32 of the global views."""
        if views.bottleneck is not None:
            return views.bottleneck
        if self.cache is None:
            return self._compute(views, now, len(views.groups[0]))
        missing = torch.from_numpy(self.cache.missing(views.epoch, views.indices))
        found = torch.empty(len(missing), len(views.groups[0]), self.width)
        if missing.any():
            rows = missing.nonzero()[:, 0].to(views.groups[0].device, non_blocking=True)
            part = Views([views.groups[0].index_select(1, rows)], views.epoch, views.indices[missing])
            made = self._compute(part, now, len(views.groups[0])).transpose(0, 1)
            self._store(self.cache, views.epoch, part.indices, made, views.records[missing])
            # As the cache holds it: a run gives the same numbers whether it fills the cache, uses it, or finds it full.
            found[missing] = self.cache.rounded(made).float()
        if not missing.all():
            there = ~missing
            found[there] = self.cache.read(views.epoch, views.indices[there], views.records[there])
        return found.to(views.groups[0].device, non_blocking=True).transpose(0, 1)

    def read_ahead(self, views: Views) -> Tensor | None:
        """Embeddings (G, B, D') that the cache holds of all of these views; None where it lacks any."""
        cache = self.cache
        if cache is None or cache.missing(views.epoch, views.indices).any():
            return None
        found = cache.read(views.epoch, views.indices, views.records)
        device = views.groups[0].device
        # Only from page-locked memory does a copy go on beside the host.
        found = found.pin_memory() if device.type == "cuda" else found
        return found.to(device, non_blocking=True).transpose(0, 1)

    def _store(self, cache: TeacherCache, epoch: int, indices: Tensor, made: Tensor, records: Tensor) -> None:
        """Put rows into the cache; a disk that takes no more costs time from here on, and not the run."""
        if not self._filling:
            return
        try:
            cache.write(epoch, indices, made, records)
        except CacheWriteError as error:
            self._filling = False
            self._say(f"Warning: {error.message}. The run goes on and computes what is not in it")

    def embed_locals(self, views: Views, now: StepContext) -> Tensor:
        """Embeddings (V - G, B, D') of the local views; they are never cached."""
        return torch.cat([self.embed_uncached(group, now) for group in views.groups[1:]])

    def embed_uncached(self, views_GB3SS: Tensor, now: StepContext) -> Tensor:
        """Embeddings (G, B, D') in fp32 of whatever views."""
        with now.autocast():
            return self.teacher.bottleneck(views_GB3SS)

    def patch_scores(self, views: Views, now: StepContext) -> tuple[Tensor, Tensor]:
        """Scores (G, B, K) of the class tokens and (G, B, N, K) of the patches of the global views."""
        with now.autocast():
            return self.teacher.forward_patches(views.groups[0])

    def _compute(self, views: Views, now: StepContext, count: int) -> Tensor:
        shown = views.groups[0][:count]
        with now.autocast():
            features = self.teacher.features(shown)
            if self.shares_features:
                self._seen = (views.groups[0], features)
            return self.teacher.narrowed(features)

    def take_features(self, views_GB3SS: Tensor) -> Tensor | None:
        """Features (G', B, D) of the first G' of these views where they have just been computed; else None."""
        seen, self._seen = self._seen, None
        return seen[1] if seen is not None and seen[0] is views_GB3SS else None
