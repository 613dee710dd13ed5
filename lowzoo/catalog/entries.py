"""What the catalog knows of a figure, of a recipe, of a teacher and of a latency."""

from dataclasses import dataclass

from lowzoo.catalog.teacher_families import TEACHER_FAMILIES


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
        unit: Unit of `value`.
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
        family: Layout of the checkpoint, see `lowzoo.catalog.teacher_families`.
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
        patch_size: Patch size of the ViT, where it is not the architecture's own.
        width: Factor of all widths of a ResNet, the stem's included.
        positions: How the ViT resamples its position embeddings for other sizes: `timm`, `dino` or `msn`.
        model: Zoo name, for family `zoo`.
        bundled: File name in the weights folder of the package.
        url: Address of the file.
        signed: The address works only with a signature (`?...`) that stands in `page`.
        page: Where the publisher links to the file.
        file: File name of the checkpoint.
        package: Distribution that carries the file, or that the bundled one was taken from, `name==version`.
        package_module: Importable name of that distribution.
        package_path: The file's path inside the module's folder.
        sha256: SHA-256 of the file, when it was computed on the real file or published.
        md5: First digits of the file's MD5, where published.
        branch: Which branch of the checkpoint is the teacher, and its key prefix.
        head_keys: The head's keys in that branch.
        hidden_dim: Width of the head's hidden layers; None where only the file says it.
        bottleneck_dim: Width before the head's last layer, or of the embedding where there are no prototypes.
        head_dim: Number of outputs (prototypes) of the head.
        start_at_prototypes: Whether a student whose settings follow from data and device starts its last layer at the
            prototypes of the teacher's own head, because that was measured to serve it.
        least_view: Side in pixels below which views are enlarged for it where settings follow from data and device,
            because it was measured to know less of smaller ones.
        input_size: (C, H, W) the backbone was trained and is evaluated at.
        mean: Mean of the normalisation, RGB in [0, 1].
        std: Standard deviation of the normalisation, RGB in [0, 1].
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
    bundled: str = ""
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
    start_at_prototypes: bool = False
    least_view: int | None = None
    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    citation: str = ""
    notes: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()

    @property
    def has_prototypes(self) -> bool:
        """Whether its own head scores prototypes, which RoB's targets are made of; SEED needs the embedding alone."""
        return self.head_included and TEACHER_FAMILIES[self.family].prototypes

    @property
    def digest(self) -> str:
        """What is known of the file's digest, as `lowzoo.io.download` takes it."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else ""

    @property
    def download_name(self) -> str:
        """Path of the file in the folder of downloads."""
        return f"teachers/{self.name}/{self.file}"


@dataclass(frozen=True)
class LatencyEntry:
    """One latency of an architecture on a device.

    Args:
        architecture: timm's name of the network.
        device: Short name, what `--on` takes.
        device_label: The device in full.
        engine: Runtime and the unit that computes.
        precision: Precision of weights and activations.
        ms: For one image, in milliseconds.
        protocol: How it was measured.
        source: `measured here` or the publication.
        size: Side of the images in pixels.
        kind: `reference` for what others published; never ranked together with our own.
        script: What measured it, for `measured here`.
    """

    architecture: str
    device: str
    device_label: str
    engine: str
    precision: str
    ms: float
    protocol: str
    source: str
    size: int = 224
    kind: str = "reference"
    script: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether others published it, by a protocol of theirs."""
        return self.kind == "reference"
