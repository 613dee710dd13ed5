"""A run whose student keeps another model's index: the map that is trained along, and what pulls at it.

The map is a part of the student's encoder, so that it is optimised, wrapped for several processes and checkpointed with
it. The recipe's step is left as it is, and its own loss is reported as before.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.train.kernels.precision import full
from lowzoo.train.losses.compatible import compatible_loss
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.teacher_cache.frozen import FrozenTeacher
from lowzoo.train.teacher_cache.opening import open_cache
from lowzoo.train.teachers.target import Target, is_same
from lowzoo.zoo.compatible import CompatibleFacts, EmbeddingMap

_SEED = 2


class CompatibleTerm:
    """The loss term of one run.

    Args:
        target: On the CPU.
        config: Configuration of the run.
        method: The recipe's, on its device; its student gets the map.
        source: Training images.
        device: Where the run trains.
        precision: Precision of the networks.
        teacher: Of the run, whose features serve where it is the same model; None for a recipe without one.
        cache: Folder of the run's teacher cache.
        say: Receives each line of text.
    """

    def __init__(
        self,
        target: Target,
        config: TrainConfig,
        method: Method,
        source: ImageSource,
        device: torch.device,
        precision: str,
        teacher: FrozenTeacher | None,
        cache: Path | None,
        say: Callable[[str], None],
    ) -> None:
        self.facts = target.facts
        self.weight = config.compatible_weight
        self._teacher: FrozenTeacher | None = None
        network = target.teacher.to(device).to(memory_format=config.layout)
        network.layout = config.layout
        kept = None
        if cache is not None:
            preparation = str(self.facts.preparation)
            name = sha256(f"{network.checksum()} {preparation}".encode()).hexdigest()[:16]
            place = cache / f"compatible-{name}"
            kept = open_cache(place, network, config, source, precision, preparation=preparation)
            say(f"Cache of {self.facts.model}'s embeddings: {kept}")
        elif teacher is not None and is_same(target, teacher.teacher, config.global_size):
            self._teacher = teacher
            teacher.shares_features = True
            target.in_parts.network = teacher.teacher.backbone  # in memory once
        self._frozen = FrozenTeacher(network, kept, say)
        self.give_map(config, method, device)

    def give_map(self, config: TrainConfig, method: Method, device: torch.device) -> None:
        """Put a fresh map behind the student; no random number that anything else draws is touched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + _SEED)
            made = EmbeddingMap(self.facts.features, self.facts.dimensions, self.facts.map)
        method.student.compatible = made.to(device)

    @property
    def is_cached(self) -> bool:
        """Whether embeddings are read from a cache."""
        return self._frozen.cache is not None

    def loss(self, method: Method, views: Views, now: StepContext) -> Tensor:
        """Mean cosine distance over the global views that the recipe has just had encoded.

        Raises:
            LowzooError: The recipe encodes views in a way of its own.
        """
        taken = method.take_mapped()
        if not taken:
            raise LowzooError(
                f"a step of {type(method).__name__} does not encode its views by Method.encode, so nothing is mapped",
                "Leave out --compatible-with, or let the recipe use it",
            )
        losses = []
        for shown, mapped in taken:
            with now.clock.part("compatible"), torch.no_grad():
                target = self._embeddings(shown, views, now)
            losses.append(compatible_loss(full(mapped), target))
        return torch.stack(losses).mean()

    def _embeddings(self, shown: Tensor, views: Views, now: StepContext) -> Tensor:
        """The model's embeddings (G', B, E) of views that were encoded, some or all of the global ones."""
        first = _place(shown, views.groups[0])
        if first is not None:
            chosen = slice(first, first + len(shown))
            if self._teacher is not None:
                found = self._teacher.take_features(views.groups[0])
                if found is not None and chosen.stop <= len(found):
                    return found[chosen]
            if self.is_cached:
                # What is read ahead is the run's teacher's.
                return self._frozen.embed(replace(views, bottleneck=None), now)[chosen]
        return self._frozen.embed_uncached(shown, now)


def _place(shown: Tensor, views_GB3SS: Tensor) -> int | None:
    """Number of the first of some views among all; None where they are no part of them."""
    if shown.shape[1:] != views_GB3SS.shape[1:] or shown.stride() != views_GB3SS.stride():
        return None
    if shown.untyped_storage().data_ptr() != views_GB3SS.untyped_storage().data_ptr():
        return None
    return int(shown.storage_offset() - views_GB3SS.storage_offset()) // int(views_GB3SS.stride(0))


def same_target(facts: CompatibleFacts, saved: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with another model than a run was begun with.

    Args:
        facts: Of the model that the word means now.
        saved: Those that the checkpoint has.
        folder: Run folder, for the message.

    Raises:
        LowzooError: Its weights or its preparation have changed.
    """
    begun = CompatibleFacts.from_dict(saved)
    if (begun.weights, begun.preparation) != (facts.weights, facts.preparation):
        raise LowzooError(
            f"the run in {folder} was begun to be compatible with {begun}, and that name now means {facts}",
            "Bring back the model that it was begun with, or start another run with --out",
        )
