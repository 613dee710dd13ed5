"""SEED: let a small student reproduce a frozen teacher's similarities to past images (arXiv 2101.04731)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lowzoo import catalog
from lowzoo.train.recipes.recipe import BatchAndSize, Needs, Recipe, needed_teacher

if TYPE_CHECKING:
    from lowzoo.train.networks.encoder import MultiViewEncoder
    from lowzoo.train.networks.step import Method
    from lowzoo.train.recipes.facts import Facts
    from lowzoo.train.recipes.seed.config import SeedConfig
    from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class Seed(Recipe["SeedConfig"]):
    """SEED, and its small-patch extension where the settings have local views."""

    name = "seed"
    label = "SEED"
    summary = "Let a small student reproduce a frozen teacher's similarities to past images."
    student = "resnet18"
    needs = Needs(teacher=True, local_targets=True, embedding=True)
    changeable = frozenset({"student_temperature", "teacher_temperature"})
    function = "lowzoo.train.api:seed"

    def config(self) -> "type[SeedConfig]":
        """See `lowzoo.train.recipes.seed.config`."""
        from lowzoo.train.recipes.seed.config import SeedConfig

        return SeedConfig

    def needs_of(self, config: "SeedConfig") -> Needs:
        """Every view is compared with the queue."""
        return replace(self.needs, bank=config.queue)

    def outputs(self, config: "SeedConfig", teacher: "FrozenTeacher | None") -> int:
        """The width of the teacher's embedding."""
        return needed_teacher(teacher, self.name).width

    def method(self, config: "SeedConfig", student: "MultiViewEncoder", teacher: "FrozenTeacher | None") -> "Method":
        """See `lowzoo.train.recipes.seed.method`."""
        from lowzoo.train.recipes.seed.method import SeedMethod

        return SeedMethod(student, needed_teacher(teacher, self.name), config)

    def defaults(self, facts: "Facts", named: Mapping[str, Any], step: BatchAndSize) -> dict[str, Any]:
        """One global view, and a queue of a few thousand."""
        from lowzoo.train.recipes.default_parts import queue_length, taught_view, teacher_fields

        return {
            "queue": queue_length(facts, step.batch, 4096),
            "views": [taught_view(facts, step.size, (0.3, 1.0))],
            **teacher_fields(facts, named, step.size),
        }

    def paper(self) -> catalog.RecipeEntry:
        """SEED's paper."""
        return catalog.recipes()[self.name]


RECIPE = Seed()
