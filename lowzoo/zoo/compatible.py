"""Students that keep the index: a map from a network's features into the embedding space of another model.

A run of `lowzoo train ... --compatible-with MODEL` leaves it as `compatible.safetensors` beside its weights: the
tensors, and as metadata with which model, which of its weights and which preparation it was trained. An index of
vectors that MODEL has made can then be asked by the student. Only directions are learned, so what the map gives has
unit length.
"""

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.io import hub
from lowzoo.io.files import atomic_path, plain_path
from lowzoo.preprocess.input_facts import size_text
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.find import FOLDER_SCHEME
from lowzoo.zoo.hub_spec import is_hub_spec, readings
from lowzoo.zoo.resolve import Resolved, load_model

# The word that names this head, beside "own" and the file of a linear probe.
COMPATIBLE = "compatible"
FILE = "compatible.safetensors"
_KEY = "lowzoo.compatible"
# So few digits of a hash tell models apart for people.
_DIGITS = 12

Kind = Literal["linear", "mlp"]


@dataclass(frozen=True)
class CompatibleFacts:
    """With whom a student is compatible.

    Args:
        model: Name of the model whose space it is.
        revision: Which weights of it, in words.
        weights: SHA-256 over its tensors, 64 hexadecimal digits.
        dimensions: Numbers of one of its embeddings.
        input_size: (C, H, W) that it sees; an index has to be made at that size.
        mean: Mean of its normalisation.
        std: Standard deviation of its normalisation.
        interpolation: Filter of its resize.
        crop_pct: Side of its centre crop by the side after resizing.
        crop_mode: How it makes pictures of other proportions fit.
        map: Kind of the map: linear, or an MLP with one hidden layer.
        features: Numbers of the student's feature.
        weight: Weight of the cosine distance beside the recipe's own loss.
        student: SHA-256 over the student's tensors, for which alone the map is made; empty while it is trained.
        license: SPDX identifier of the model's weights, empty if not known.
        derivatives_may_be_published: Whether that licence lets students be published; None if not known.
    """

    model: str
    revision: str
    weights: str
    dimensions: int
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    crop_mode: str
    map: Kind
    features: int
    weight: float
    student: str = ""
    license: str = ""
    derivatives_may_be_published: bool | None = None

    @classmethod
    def of(cls, model: Resolved, *, dimensions: int, features: int, map: Kind, weight: float) -> "CompatibleFacts":
        """What there is to say of a model as it was loaded, before anything is changed in it."""
        preparation = dataclasses.asdict(Preprocessing.of(model))
        return cls(
            model=model.name,
            revision=model.revision,
            weights=weights_digest(model.model),
            dimensions=dimensions,
            map=map,
            features=features,
            weight=weight,
            license=model.license,
            derivatives_may_be_published=_derivatives(model.source),
            **preparation,
        )

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> "CompatibleFacts":
        """The inverse of `as_dict`.

        Raises:
            LowzooError: Something is missing or of another type, or there is more.
        """
        remedy = "Get the file again, or finish the run again"
        if more := set(said) - {field.name for field in dataclasses.fields(cls)}:
            raise LowzooError(f"a map says the unknown {', '.join(sorted(more))} of itself", remedy)
        try:
            # As JSON, in which a list may be a tuple and nothing else becomes what it is not.
            facts: CompatibleFacts = TypeAdapter(cls).validate_json(json.dumps(said), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise LowzooError(f"what a map says of itself is damaged at {place}: {first['msg']}", remedy) from error
        if min(facts.features, facts.dimensions, *facts.input_size) < 1:
            raise LowzooError("a map says that it has no features, no dimensions or no input", remedy)
        return facts

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        said: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return said

    @property
    def preparation(self) -> dict[str, Any]:
        """How the model is fed, by the names of `Preprocessing`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Preprocessing)}

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of the model's input in pixels."""
        return self.input_size[1:]

    def __str__(self) -> str:
        return (
            f"{self.model} (weights sha256:{self.weights[:_DIGITS]}, {self.dimensions} numbers, "
            f"{size_text(self.side)} px)"
        )


class EmbeddingMap(nn.Module):
    """From a student's features (N, D) to another model's embeddings (N, E), of any length.

    Args:
        features: D.
        dimensions: E.
        kind: "linear", or "mlp" with one hidden layer as wide as the wider end.
    """

    def __init__(self, features: int, dimensions: int, kind: Kind = "linear") -> None:
        super().__init__()
        if kind == "linear":
            self.layers = nn.Sequential(nn.Linear(features, dimensions))
        else:
            hidden = max(features, dimensions)
            self.layers = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, dimensions))

    def forward(self, features_ND: Tensor) -> Tensor:
        """Embeddings (N, E)."""
        mapped: Tensor = self.layers(features_ND)
        return mapped


class UnitLength(nn.Module):
    """Rows (N, E) brought to unit length."""

    def forward(self, x_NE: Tensor) -> Tensor:
        """Unit vectors (N, E); a row of zeros stays one."""
        # What `normalize` computes, without the operator by which a traced one makes the lengths as wide as the rows:
        # it would end a phone's accelerated part.
        unit: Tensor = x_NE / torch.linalg.vector_norm(x_NE, dim=1, keepdim=True).clamp_min(1e-12)
        return unit


def save_map(folder: Path, network: EmbeddingMap, facts: CompatibleFacts) -> None:
    """Write the map of a run beside its weights."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_path(folder / FILE) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(facts.as_dict())})


def read_map(folder: Path) -> tuple[EmbeddingMap, CompatibleFacts]:
    """The map of a run folder, in eval mode.

    Raises:
        LowzooError: It holds none, or one that is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise _no_map(str(folder))
    try:
        with safe_open(plain_path(path), framework="pt") as file:
            facts = CompatibleFacts.from_dict(json.loads((file.metadata() or {})[_KEY]))
            names = file.keys()
            found = {name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) for name in names}
        # Without values, as the facts alone say how many there would be.
        with torch.device("meta"):
            network = EmbeddingMap(facts.features, facts.dimensions, facts.map)
        if found != {name: ("F32", list(value.shape)) for name, value in network.state_dict().items()}:
            raise ValueError(f"its tensors are not those of a {facts.map} map of {facts.features} features")
        network.load_state_dict(load_file(plain_path(path)), assign=True)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = repr(error)
    except LowzooError as error:
        reason = error.message
    else:
        return network.eval(), facts
    raise LowzooError(
        f"{path} is no map into another model's space ({reason})", "Get the file again, or finish the run again"
    )


def map_of(resolved: Resolved) -> tuple[EmbeddingMap, CompatibleFacts]:
    """The map that lies beside the weights of a model.

    Raises:
        LowzooError: There is none, or it was made for other weights than these.
    """
    folder = map_folder(resolved)
    if folder is None:
        raise _no_map(resolved.name)
    network, facts = read_map(folder)
    if facts.student != weights_digest(resolved.model) and not _resampled(resolved, facts):
        raise LowzooError(
            f"the map in {folder / FILE} was trained with other weights than those of {resolved.name}",
            "Name the run folder as the run has left it",
        )
    return network, facts


def _resampled(resolved: Resolved, facts: CompatibleFacts) -> bool:
    """Whether a network differs from the one of its map in its size alone, which a ViT's positions follow."""
    own = load_model(resolved.source)
    return own.input_size != resolved.input_size and weights_digest(own.model) == facts.student


def map_folder(resolved: Resolved) -> Path | None:
    """The folder in which a model's map would lie; None for a model that comes from nowhere that can have one.

    Raises:
        LowzooError: The Hub cannot be asked whether the model's repository has one.
    """
    source = resolved.source
    if is_hub_spec(source):
        place = readings(source)[0]
        try:
            snapshot, _ = hub.fetch_files(
                f"{place.repository}@{place.revision}", [f"{place.folder}/{FILE}" if place.folder else FILE]
            )
        except hub.NoFileError:
            return None
        return snapshot / place.folder
    return Path(source.removeprefix(FOLDER_SCHEME)) if source.startswith(FOLDER_SCHEME) else None


def with_map(resolved: Resolved) -> Resolved:
    """The network followed by its map, whose unit vectors (B, E) lie in the other model's space.

    Raises:
        LowzooError: As `map_of`.
    """
    network, facts = map_of(resolved)
    layers: OrderedDict[str, nn.Module] = OrderedDict(backbone=resolved.model, map=network, unit=UnitLength())
    name = f"{resolved.name} in the space of {facts.model}"
    return dataclasses.replace(
        resolved, model=nn.Sequential(layers).eval(), name=name, head=COMPATIBLE, compatible=facts
    )


def headed(resolved: Resolved, head: str | None) -> Resolved:
    """The network as it is, or with its map.

    Raises:
        LowzooError: As `map_of`; or an unknown head.
    """
    if head not in (None, COMPATIBLE):
        raise LowzooError(f"unknown head {head!r}", f"Use {COMPATIBLE}, or leave it out")
    return resolved if head is None else with_map(resolved)


def load_bank_model(facts: CompatibleFacts, load: Callable[[tuple[int, int]], Resolved], student: str) -> Resolved:
    """The model that has made an index, at the size at which a map was trained with it; any other one is refused.

    Args:
        facts: Of the map.
        load: Gives the model at a height and width.
        student: Name of the student, for messages.

    Raises:
        LowzooError: It is another model, or is fed in another way; what would fit is named.
    """
    model = load(facts.side)
    remedy = f"Name {facts.model} with these weights, or train with --compatible-with {model.name}"
    if weights_digest(model.model) != facts.weights:
        with torch.inference_mode():
            width = model.model(torch.zeros(1, *model.input_size)).shape[1]
        raise LowzooError(
            f"{student} is compatible with {facts}, and {model.name} has other weights "
            f"(sha256:{weights_digest(model.model)[:_DIGITS]}, {width} numbers)",
            remedy,
        )
    own = dataclasses.asdict(Preprocessing.of(model))
    if differing := [key for key, value in facts.preparation.items() if own[key] != value]:
        key = differing[0]
        raise LowzooError(
            f"{student} was trained with {facts.model} at {key} {facts.preparation[key]}, and here it has {own[key]}",
            remedy,
        )
    return model


def _derivatives(source: str) -> bool | None:
    """Whether the licence of a teacher or of a model of the catalog lets students be published; None if not known."""
    teacher = catalog.teachers().get(source.partition("@")[0])
    if teacher is not None:
        return teacher.derivatives_may_be_published
    return catalog.find(source)[1].derivatives if source.startswith(catalog.PREFIX) else None


def _no_map(name: str) -> LowzooError:
    return LowzooError(
        f"{name} has no map into another model's space",
        "Name the folder of a run of `lowzoo train ... --compatible-with MODEL`, or where it was published",
    )
