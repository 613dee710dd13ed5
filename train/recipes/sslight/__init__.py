"""SSLight: train a small network without any teacher, by softer views (arXiv 2210.02808)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.train.recipes.facts import has_class_token
from lowzoo.train.recipes.recipe import BatchAndSize, Choice, Needs, Recipe

if TYPE_CHECKING:
    from lowzoo.train.networks.encoder import MultiViewEncoder
    from lowzoo.train.networks.step import Method
    from lowzoo.train.recipes.facts import Facts
    from lowzoo.train.recipes.sslight.config import SslightConfig
    from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class Sslight(Recipe["SslightConfig"]):
    """DINO, SwAV or MoCo-v2 with SSLight's views, or with those of its baseline."""

    name = "sslight"
    label = "SSLight"
    summary = "Train a small network without any teacher, by softer views."
    student = "mobilenetv2"
    changeable = frozenset(
        {
            "student_temperature",
            "teacher_temperature",
            "teacher_temperature_start",
            "teacher_temperature_warmup",
            "centre_momentum",
            "epsilon",
            "sinkhorn_iterations",
            "alpha",
            "beta",
            "ema",
            "ema_end",
            "freeze_last",
            "queue_start",
        }
    )
    function = "lowzoo.train.api:sslight"

    def config(self) -> "type[SslightConfig]":
        """See `lowzoo.train.recipes.sslight.config`."""
        from lowzoo.train.recipes.sslight.config import SslightConfig

        return SslightConfig

    def needs_of(self, config: "SslightConfig") -> Needs:
        """DINO and MoCo keep a second network, MoCo compares with its past keys of one view."""
        needs = replace(self.needs, momentum_teacher=config.method != "swav", outputs=self.outputs(config, None))
        return replace(needs, keys=1, bank=config.queue, embedding=True) if config.method == "moco" else needs

    def outputs(self, config: "SslightConfig", teacher: "FrozenTeacher | None") -> int:
        """Prototypes, or MoCo's embedding."""
        return config.student_head.bottleneck if config.method == "moco" else config.prototypes

    def method(self, config: "SslightConfig", student: "MultiViewEncoder", teacher: "FrozenTeacher | None") -> "Method":
        """The method of that name."""
        from lowzoo.train.recipes.sslight.method import DinoMethod, MocoMethod, SwavMethod

        if config.method == "dino":
            return DinoMethod(student, config)
        made = SwavMethod if config.method == "swav" else MocoMethod
        return made(student, config, config.student_head.bottleneck)

    def defaults(self, facts: "Facts", named: Mapping[str, Any], step: BatchAndSize) -> dict[str, Any]:
        """See `lowzoo.train.recipes.sslight.defaults`."""
        from lowzoo.train.recipes.sslight.defaults import defaults

        return defaults(facts, named, step)

    def offered_presets(self) -> list[str]:
        """Kinds of views; the method and the student tell the rest."""
        return ["sslight", "baseline"]

    def layers(self, choice: Choice) -> tuple[str, ...]:
        """The paper's settings of a method for a kind of student, under softer or ordinary views."""
        if choice.preset is None:
            return ()
        if choice.preset not in self.offered_presets():
            raise LowzooError(f"unknown preset {choice.preset!r} of sslight", "Choose baseline or sslight")
        method = choice.options.get("method") or "dino"
        student = choice.student or self.student
        # The settings for ViTs rule how positions are resampled, which other networks of tokens have none of.
        kind = "vit" if has_class_token(catalog.student_architecture(student, self.name)) else "cnn"
        base = f"sslight_{method}_{kind}"
        if base not in self.preset_names():
            raise LowzooError(
                f"the paper has no settings of method {method!r} for {student}",
                "Use --method dino, or --student mobilenetv2",
            )
        views = "sslight_views_sslight" if choice.preset == "sslight" else f"sslight_views_baseline_{kind}"
        return (base, views) if choice.data else (base, views, "sample_sslight")

    def paper(self) -> catalog.RecipeEntry:
        """SSLight's paper."""
        return catalog.recipes()[self.name]


RECIPE = Sslight()
