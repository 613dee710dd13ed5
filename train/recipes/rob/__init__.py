"""RoB: fit a small student to a frozen teacher's prototype distribution (arXiv 2301.09451)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.train.recipes.recipe import BatchAndSize, Choice, Masks, Needs, Recipe, needed_teacher

if TYPE_CHECKING:
    from lowzoo.train.networks.encoder import MultiViewEncoder
    from lowzoo.train.networks.step import Method
    from lowzoo.train.recipes.facts import Facts
    from lowzoo.train.recipes.rob.config import RobConfig
    from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class Rob(Recipe["RobConfig"]):
    """RoB with the targets of DINO, SwAV, iBOT or MSN, and the supervised distillation that its paper compares with."""

    name = "rob"
    label = "RoB"
    summary = "Fit a small student to a frozen teacher's prototype distribution."
    student = "vit_tiny"
    needs = Needs(teacher=True, prototypes=True)
    changeable = frozenset(
        {
            "student_temperature",
            "teacher_temperature",
            "kd_temperature",
            "epsilon",
            "sinkhorn_iterations",
            "alpha",
            "beta",
            "patch_weight",
            "kd_weight",
        }
    )
    function = "lowzoo.train.api:rob"

    def config(self) -> "type[RobConfig]":
        """See `lowzoo.train.recipes.rob.config`."""
        from lowzoo.train.recipes.rob.config import RobConfig

        return RobConfig

    def needs_of(self, config: "RobConfig") -> Needs:
        """Loss ibot masks patches, loss kd reads labels."""
        supervised = config.loss == "kd"
        masks = Masks(config.mask_ratio, config.mask_spread) if config.loss == "ibot" else None
        return replace(
            self.needs,
            masks=masks,
            labels=supervised,
            classes=supervised,
            outputs=config.prototypes,
            embedding=config.student_scores == "teacher",
        )

    def teacher_of(self, named: Mapping[str, Any]) -> str:
        """Losses kd and ibot need what the bundled teacher has not: a classifier, a head that scores patches."""
        of_loss = {"kd": "deit_small_patch16_224", "ibot": "ibot_vitb16"}
        return str(named.get("teacher", of_loss.get(str(named.get("loss")), self.teacher)))

    def outputs(self, config: "RobConfig", teacher: "FrozenTeacher | None") -> int:
        """As many scores as the teacher has prototypes, or its bottleneck where its prototypes score the student."""
        taught = needed_teacher(teacher, self.name)
        return taught.width if config.student_scores == "teacher" else taught.facts.prototypes

    def method(self, config: "RobConfig", student: "MultiViewEncoder", teacher: "FrozenTeacher | None") -> "Method":
        """The method of the loss."""
        from lowzoo.train.recipes.rob.kd import KdMethod
        from lowzoo.train.recipes.rob.method import RobIbotMethod, RobMethod

        made = {"kd": KdMethod, "ibot": RobIbotMethod}.get(config.loss, RobMethod)
        return made(student, needed_teacher(teacher, self.name), config)

    def defaults(self, facts: "Facts", named: Mapping[str, Any], step: BatchAndSize) -> dict[str, Any]:
        """See `lowzoo.train.recipes.rob.defaults`."""
        from lowzoo.train.recipes.rob.defaults import defaults

        return defaults(facts, named, step)

    def layers(self, choice: Choice) -> tuple[str, ...]:
        """The preset, and SSLight's views over it."""
        views = choice.options.get("views")
        if views not in (None, "sslight"):
            raise LowzooError(
                f"unknown views {views!r}", "Choose sslight, or set fields with --set view.NAME.FIELD=..."
            )
        if views and choice.options.get("loss") == "kd":
            raise LowzooError("loss kd has no pairs of views that --views could weigh", "Leave out --views or --loss")
        if choice.preset is None:
            return ()
        preset = self.known_preset(choice.preset)
        if views is None:
            return (preset,)
        if not preset.startswith("rob_"):
            raise LowzooError(
                f"SSLight's views are laid over the settings of a paper, and preset {preset} is none",
                "Name a preset rob_..., or none",
            )
        return preset, "sslight_views_sslight"

    def paper(self) -> catalog.RecipeEntry:
        """RoB's paper."""
        return catalog.recipes()[self.name]


RECIPE = Rob()
