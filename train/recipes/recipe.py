"""What a recipe declares of itself: all that training, the command line and the cards know of it.

A recipe is a folder: this declaration, its configuration, its method (a step of it) and its presets. Another package
declares its own by an entry point of the group `lowzoo.recipes`; see CONTRIBUTING.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lowzoo.base.errors import LowzooError
from lowzoo.base.lazy import resolved_place
from lowzoo.train.recipes.facts import BUNDLED_TEACHER

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from lowzoo.catalog import RecipeEntry
    from lowzoo.train.networks.encoder import MultiViewEncoder
    from lowzoo.train.networks.step import Method
    from lowzoo.train.recipes.base import TrainConfig
    from lowzoo.train.recipes.facts import Facts
    from lowzoo.train.teacher_cache.frozen import FrozenTeacher

C = TypeVar("C", bound="TrainConfig")


@dataclass(frozen=True)
class Masks:
    """How many patches of a global view are masked: one of several rules, drawn for each view.

    Args:
        ratios: Mean fraction of masked patches of each rule.
        spreads: Half width of the uniform draw around each mean.
    """

    ratios: tuple[float, ...]
    spreads: tuple[float, ...]


@dataclass(frozen=True)
class Needs:
    """What a run needs beside images and a student.

    Args:
        teacher: A frozen teacher; the configuration is then a `TaughtConfig`.
        prototypes: The teacher's head has to end in prototypes; an embedding is not enough.
        classes: The teacher's head has to be the classifier of the images' classes.
        labels: The images have to have classes; each batch brings them.
        masks: Patches to mask: a student made of tokens, and a teacher whose head scores patches.
        local_targets: The teacher sees local views too, so its patches have to divide them.
        momentum_teacher: A second network follows the student; counted when memory is estimated.
        keys: Global views that only the second network sees; counted when memory is estimated.
        embedding: The student's head ends in an embedding and not in scores of prototypes.
        bank: Past embeddings that each view is compared with; counted when memory is estimated.
        outputs: Width of the student's head where no teacher decides it; counted when memory is estimated.
    """

    teacher: bool = False
    prototypes: bool = False
    classes: bool = False
    labels: bool = False
    masks: Masks | None = None
    local_targets: bool = False
    momentum_teacher: bool = False
    keys: int = 0
    embedding: bool = False
    bank: int = 0
    outputs: int = 0

    @property
    def patches(self) -> bool:
        """Whether patches are masked and scored."""
        return self.masks is not None


@dataclass(frozen=True)
class Choice:
    """What a user has named of that which picks among presets.

    Args:
        preset: Name of a preset; None leaves settings to data, device and budget.
        student: Short name or architecture.
        data: Whether a source of images is named; without one it is the embedded sample set.
        options: Further options of the recipe's own, such as `loss` or `method`; None where absent.
    """

    preset: str | None = None
    student: str | None = None
    data: bool = False
    options: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchAndSize:
    """What the rules that all recipes share have chosen, for those of the recipe itself.

    Args:
        batch: Images in a step.
        size: Side of the global views in pixels.
    """

    batch: int
    size: int


class Recipe(Generic[C]):
    """A recipe; subclasses say what follows and override what differs.

    Importing a declaration imports nothing heavy: its methods import what they need.
    """

    #: What `lowzoo train NAME` and `recipe = "NAME"` take.
    name: str
    #: The name for people.
    label: str
    #: One line for lists and help.
    summary: str
    #: The student where the user names none.
    student: str
    #: What every run of the recipe needs; `needs_of` tells it of one configuration.
    needs = Needs()
    #: The teacher where the user names none; `teacher_of` knows it for what else the user has named.
    teacher = BUNDLED_TEACHER
    #: Settings of its own that may change when a run goes on; those of all recipes stand in
    #: `lowzoo.train.settings.changes`.
    changeable: frozenset[str] = frozenset()
    #: The documented Python function as "module:attribute", of which the command is made; a general one if empty.
    function: str = ""

    def config(self) -> type[C]:
        """The configuration: every setting with its default and its bounds."""
        raise NotImplementedError

    def needs_of(self, config: C) -> Needs:
        """What a run with this configuration needs."""
        return self.needs

    def teacher_of(self, named: Mapping[str, Any]) -> str:
        """The teacher that the user has named, or the one that goes with what was named."""
        return str(named.get("teacher", self.teacher))

    def outputs(self, config: C, teacher: "FrozenTeacher | None") -> int:
        """Width K of what the student's head ends in."""
        raise NotImplementedError

    def method(self, config: C, student: "MultiViewEncoder", teacher: "FrozenTeacher | None") -> "Method":
        """The method that a run steps through.

        Args:
            config: The run's.
            student: With its head.
            teacher: With its head; None where the recipe needs none.
        """
        raise NotImplementedError

    def defaults(self, facts: "Facts", named: Mapping[str, Any], step: BatchAndSize) -> dict[str, Any]:
        """Settings that follow from images and machine where no preset is named: at least the views.

        Args:
            facts: What is known of images, device and networks.
            named: Fields that the user has named, which are laid over these.
            step: Batch and size of views, which were chosen already.
        """
        raise NotImplementedError

    def layers(self, choice: Choice) -> tuple[str, ...]:
        """The presets that a choice means, later ones over earlier ones; none leaves settings to `defaults`.

        Raises:
            LowzooError: No such preset, or options that do not go with it.
        """
        if choice.preset is None:
            return ()
        return (self.known_preset(choice.preset),)

    def paper(self) -> "RecipeEntry | None":
        """What a card cites, if there is a paper."""
        return None

    def preset_names(self) -> list[str]:
        """The recipe's own presets: the TOML files in the folder `presets` of the package of its declaration."""
        folder = self._presets()
        found = [item.name for item in folder.iterdir()] if folder is not None and folder.is_dir() else []
        return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))

    def offered_presets(self) -> list[str]:
        """What a user may name as a preset."""
        return self.preset_names()

    def preset_text(self, name: str) -> str:
        """The TOML text of one of them."""
        folder = self._presets()
        if folder is None:
            raise LowzooError(f"recipe {self.name} has no presets", "Leave out --preset")
        return (folder / f"{name}.toml").read_text(encoding="utf-8")

    def _presets(self) -> "Traversable | None":
        package = import_module(type(self).__module__).__package__
        return files(package) / "presets" if package else None

    def known_preset(self, name: str) -> str:
        """The name itself.

        Raises:
            LowzooError: The recipe has no such preset.
        """
        known = self.preset_names()
        if name not in known:
            remedy = f"Choose one of {', '.join(known)}" if known else "Leave out --preset, and set fields by --set"
            raise LowzooError(f"unknown preset {name!r} of {self.name}", remedy)
        return name

    def python_function(self) -> Callable[..., Any] | None:
        """The function named by `function`."""
        found: Callable[..., Any] | None = resolved_place(self.function) if self.function else None
        return found


def needed_teacher(teacher: "FrozenTeacher | None", recipe: str) -> "FrozenTeacher":
    """The teacher of a recipe that cannot do without.

    Raises:
        LowzooError: There is none.
    """
    if teacher is None:
        raise LowzooError(f"recipe {recipe} needs a teacher", "Name one with --teacher")
    return teacher
