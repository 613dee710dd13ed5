"""What the catalog knows of a model, of a set of weights, of a figure, of a recipe and of a teacher."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

_WEIGHTS_FOLDER = "lowzoo.weights"


@dataclass(frozen=True)
class Metric:
    """One figure that somebody measured or published.

    Args:
        task: What was asked of the features, e.g. `k-NN top-1`.
        value: In `unit`.
        data: What was classified, and with which bank or training set.
        protocol: The settings that decide the figure, e.g. `k = 20, cosine, T = 0.07`.
        source: `measured here` or the publication.
        script: What measured it, for `measured here`.
        unit: Of `value`.
        of: Whose figure it is; empty for the entry's own, else what it is to be compared with.
        headline: The figure that stands in the list.
    """

    task: str
    value: float
    data: str
    protocol: str
    source: str
    script: str = ""
    unit: str = "%"
    of: str = ""
    headline: bool = False


@dataclass(frozen=True)
class WeightsEntry:
    """One set of weights (a tag) of a model.

    Args:
        tag: What stands after the dot.
        origin: `bundled` (in the package) or `unpublished` (nobody published them; they can be trained).
        summary: One sentence: what they are.
        teacher: Name in the teacher catalog.
        objective: The RoB, SEED or SSLight loss.
        data: The images they were trained on.
        input_size: (C, H, W) they are evaluated at.
        params: Parameters of the headless model at `input_size`.
        gmacs: 10^9 multiply-accumulates of one forward pass at `input_size`.
        source: Where the facts of this entry come from.
        file: File name in the weights folder of the package.
        head_file: The student's projection head, same place.
        head: The head that the targets came through: `own` (the teacher's) or `fitted`.
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
        mean: Of the normalisation, RGB in [0, 1].
        std: Of the normalisation, RGB in [0, 1].
        interpolation: Of the resize before the centre crop.
        crop_pct: Side of the centre crop by the shorter side after resizing.
    """

    tag: str
    origin: str
    summary: str
    teacher: str
    objective: str
    data: str
    input_size: tuple[int, int, int]
    params: int
    gmacs: float
    source: str
    file: str = ""
    head_file: str = ""
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

    @property
    def available(self) -> bool:
        """Whether `pretrained=True` can load them."""
        return self.origin != "unpublished"

    @property
    def path(self) -> Path | None:
        """The bundled file; None when there is none."""
        return _bundled(self.file)

    @property
    def head_path(self) -> Path | None:
        """The bundled projection head of the student; None when there is none."""
        return _bundled(self.head_file)

    @property
    def headline(self) -> Metric | None:
        """The figure for the list, if there is one."""
        return next((metric for metric in self.metrics if metric.headline), None)


@dataclass(frozen=True)
class ModelEntry:
    """One model: a recipe applied to a student architecture.

    Args:
        name: `<recipe>_<student>`.
        recipe: Name in the recipe catalog.
        student: Short name of the student.
        architecture: timm's name of it.
        feature: Which output is the feature.
        feature_dim: Its width.
        weights: The sets of weights, the default one first.
        stock: False when the network is not exactly timm's `architecture`, so that its weights need lowzoo to load.
        notes: Further sentences for the card.
    """

    name: str
    recipe: str
    student: str
    architecture: str
    feature: str
    feature_dim: int
    weights: tuple[WeightsEntry, ...]
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


@dataclass(frozen=True)
class RecipeEntry:
    """One training recipe and its paper."""

    name: str
    label: str
    title: str
    authors: str
    year: int
    arxiv: str
    citation: str


@dataclass(frozen=True)
class TeacherEntry:
    """One frozen teacher: everything that is needed to find, check, load and credit it.

    Args:
        name: What `--teacher` takes.
        family: Layout of the checkpoint: `zoo`, `dino`, `ibot`, `msn`, `swav`, `moco`, `simclr`, `mobilenetv2_flat`.
        architecture: timm's name of the backbone (headless).
        feature_dim: Width of its feature.
        params: Parameters of the backbone.
        training: How the backbone itself was trained, in words.
        label_free: False when labels entered that training.
        head_included: Whether the file holds the SSL head; without one a head has to be fitted.
        license: SPDX identifier of the weights; NOASSERTION where nobody states one.
        derivatives_may_be_published: Whether that licence lets students trained on these targets be published, under
            its own conditions; None where nobody states it.
        source: Where these facts come from.
        patch_size: Of the ViT, where it is not the architecture's own.
        width: Factor of all widths of a ResNet, the stem's included.
        positions: How the ViT resamples its position embeddings for other sizes: `timm`, `dino` or `msn`.
        model: Zoo name, for family `zoo`.
        url: Address of the file.
        signed: The address works only with a signature (`?...`) that stands in `page`.
        page: Where the publisher links to the file.
        file: File name of the checkpoint.
        package: Distribution that carries the file, `name==version`.
        package_module: Importable name of that distribution.
        package_path: The file's path inside the module's folder.
        sha256: Of the file, when it was computed on the real file or published.
        md5: Of the file, the first digits, where published.
        branch: Which branch of the checkpoint is the teacher, and its key prefix.
        head_keys: The head's keys in that branch.
        hidden_dim: Width of the head's hidden layers; None where only the file says it.
        bottleneck_dim: Width before the head's last layer, or of the embedding where there are no prototypes.
        head_dim: Number of outputs (prototypes) of the head.
        input_size: (C, H, W) the backbone was trained and is evaluated at.
        mean: Of the normalisation, RGB in [0, 1].
        std: Of the normalisation, RGB in [0, 1].
        citation: BibTeX or a sentence.
        notes: Further sentences.
        metrics: Published figures of the teacher itself.
    """

    name: str
    family: str
    architecture: str
    feature_dim: int
    params: int
    training: str
    label_free: bool
    head_included: bool
    license: str
    source: str
    derivatives_may_be_published: bool | None = None
    patch_size: int | None = None
    width: int = 1
    positions: str = "timm"
    model: str = ""
    url: str = ""
    signed: bool = False
    page: str = ""
    file: str = ""
    package: str = ""
    package_module: str = ""
    package_path: str = ""
    sha256: str = ""
    md5: str = ""
    branch: str = ""
    head_keys: str = ""
    hidden_dim: int | None = None
    bottleneck_dim: int | None = None
    head_dim: int | None = None
    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    citation: str = ""
    notes: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()

    @property
    def digest(self) -> str:
        """What is known of the file's digest, as `lowzoo.download` takes it."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else ""

    @property
    def download_name(self) -> str:
        """Path of the file in the folder of downloads."""
        return f"teachers/{self.name}/{self.file}"


def _bundled(name: str) -> Path | None:
    return Path(str(files(_WEIGHTS_FOLDER).joinpath(name))) if name else None
