"""What the catalog knows of a model and of one set of its weights."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lowzoo.catalog.entries import Metric

_WEIGHTS_FOLDER = "lowzoo.zoo.weights"
_AVAILABLE = ("bundled", "hub", "published")


@dataclass(frozen=True)
class WeightsEntry:
    """One set of weights (a tag) of a model.

    Args:
        tag: What stands after the dot.
        origin: `bundled` (in the package), `hub` (safetensors in a repository of the Hub), `published` (the authors'
            own checkpoint, converted when it is first loaded), `unpublished` (nobody published them; they can be
            trained) or `unavailable` (announced, but the address does not lead to them).
        summary: One sentence: what they are.
        objective: The loss.
        data: The images they were trained on.
        input_size: (C, H, W) they are evaluated at.
        params: Parameters of the headless model at `input_size`.
        gmacs: 10^9 multiply-accumulates of one forward pass at `input_size`.
        source: Where the facts of this entry come from.
        teacher: Name in the teacher catalog; empty where there is no teacher, or none of the catalog.
        teacher_note: The teacher in words, where it is not in the catalog or needs a remark.
        file: File name in the weights folder of the package.
        head_file: The student's projection head, same place.
        repo: Repository of the Hub, `ORG/NAME`.
        revision: Full sha of the commit there.
        checkpoint: Path of the authors' file in `repo`, or its name at `url`.
        url: Address of the authors' file, with its signature where it needs one.
        page: Where the authors link to it.
        family: Layout of the authors' file, see `lowzoo.checkpoints.families.published`.
        digest: `sha256:` and the (first) digits, of the authors' file, where published.
        size: Bytes of the authors' file, where published.
        branch: Which network of the authors' file is the model, and why.
        unavailable_reason: Why the weights cannot be had.
        head: The head that the targets came through: `own` (the teacher's), `fitted` or `none`.
        extension: What goes beyond the paper, empty for nothing.
        label_free: False when labels entered anywhere, e.g. through the teacher.
        epochs: Passes over the images.
        images: Number of training images.
        classes: Number of classes among them; their labels are not used by the recipe.
        license: SPDX identifier; empty while there is nothing to license.
        derivatives: Whether that licence allows derived weights.
        train: The command that makes such weights.
        notes: Further sentences for the card.
        metrics: Figures; absent when nobody measured or published any.
        mean: Mean of the normalisation, RGB in [0, 1].
        std: Standard deviation of the normalisation, RGB in [0, 1].
        interpolation: Filter of the resize before the centre crop.
        crop_pct: Side of the centre crop by the shorter side after resizing.
        copies_size: Side in pixels at which its features were measured to find nearly same pictures as well as at
            `input_size`, in less time.
    """

    tag: str
    origin: str
    summary: str
    objective: str
    data: str
    input_size: tuple[int, int, int]
    params: int
    gmacs: float
    source: str
    teacher: str = ""
    teacher_note: str = ""
    file: str = ""
    head_file: str = ""
    repo: str = ""
    revision: str = ""
    checkpoint: str = ""
    url: str = ""
    page: str = ""
    family: str = ""
    digest: str = ""
    size: int | None = None
    branch: str = ""
    unavailable_reason: str = ""
    head: str = "own"
    extension: str = ""
    label_free: bool = True
    epochs: int | None = None
    images: int | None = None
    classes: int | None = None
    license: str = ""
    derivatives: bool | None = None
    train: str = ""
    notes: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    copies_size: int | None = None

    @property
    def available(self) -> bool:
        """Whether `pretrained=True` can load them."""
        return self.origin in _AVAILABLE

    @property
    def status(self) -> str:
        """The word for lists: the origin, or `to train` where they can only be trained."""
        return "to train" if self.origin == "unpublished" else self.origin

    @property
    def path(self) -> Path | None:
        """The bundled file; None when there is none."""
        return _bundled(self.file)

    @property
    def head_path(self) -> Path | None:
        """The bundled projection head of the student; None when there is none."""
        return _bundled(self.head_file)

    @property
    def plain_url(self) -> str:
        """`url` without its signature."""
        return self.url.partition("?")[0]

    @property
    def pinned_repo(self) -> str:
        """`ORG/NAME@SHA`; empty where the weights lie in no repository of the Hub."""
        return f"{self.repo}@{self.revision}" if self.repo and self.revision else self.repo

    @property
    def address(self) -> str:
        """Where the file lies, for people; empty for what is not published."""
        return f"hf-hub:{self.pinned_repo}/{self.checkpoint}".rstrip("/") if self.repo else self.plain_url

    @property
    def headline(self) -> Metric | None:
        """The figure for the list, if there is one."""
        return next((metric for metric in self.metrics if metric.headline), None)

    def own_figure(self, word: str) -> Metric | None:
        """The model's own top-1 figure whose task starts with `word` (`k-NN`, `linear`); the headline one first."""
        own = [
            metric
            for metric in self.metrics
            if not metric.of and metric.task.lower().startswith(word.lower()) and "top-1" in metric.task
        ]
        return next((metric for metric in own if metric.headline), own[0] if own else None)


@dataclass(frozen=True)
class ModelEntry:
    """One model: a recipe applied to a student architecture.

    Args:
        name: `<recipe>_<student>`, or `<recipe>_<method>_<student>` where a recipe has several methods.
        recipe: Name in the recipe catalog.
        student: Short name of the student.
        architecture: timm's name of it.
        feature: Which output is the feature.
        feature_dim: Its width.
        weights: The sets of weights, the default one first.
        method: Which of the recipe's methods, for a recipe of several.
        builder: Which network of `lowzoo.zoo.architectures` it is; empty for timm's own.
        stock: Whether timm's own `architecture` gives the same features at the weights' input size; if not, they need
            lowzoo to load.
        notes: Further sentences for the card.
    """

    name: str
    recipe: str
    student: str
    architecture: str
    feature: str
    feature_dim: int
    weights: tuple[WeightsEntry, ...]
    method: str = ""
    builder: str = ""
    stock: bool = True
    notes: tuple[str, ...] = ()

    @property
    def default(self) -> WeightsEntry:
        """The weights that the bare name means."""
        return self.weights[0]

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags, the default one first."""
        return tuple(weights.tag for weights in self.weights)


def _bundled(name: str) -> Path | None:
    return Path(str(files(_WEIGHTS_FOLDER).joinpath(name))) if name else None
