"""The k-NN protocol from sources to a result: features of both sets, votes, figures."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.source import Images, ImageSource, open_set
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, Scored, percent_right, versions
from lowzoo.evaluate.sets.subsets import held_out, require_classes
from lowzoo.features.approximate import Approximation, approximate_neighbours, require_faiss
from lowzoo.features.extraction import Extraction
from lowzoo.features.features import Features
from lowzoo.features.votes import KS, TEMPERATURE, check_k, knn_predictions, votes
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.resolve import Resolved

Neighbors = Literal["exact", "approximate"]
# Of each class of a set that is not divided.
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class KnnPreset:
    """Settings of a publication.

    Args:
        name: What `--protocol` takes.
        ks: Numbers of neighbours, the main one first.
        temperature: Temperature of the vote weights.
    """

    name: str
    ks: tuple[int, ...]
    temperature: float


# RoB: the defaults of its code (VISSL). SEED: k from a later table that quotes it, temperature not published. SSLight:
# its monitor, which there searches the validation set itself.
_PRESETS = {
    preset.name: preset
    for preset in (
        KnnPreset("dino", (20, 10, 100, 200), TEMPERATURE),
        KnnPreset("rob", (200,), 0.1),
        KnnPreset("seed", (10,), TEMPERATURE),
        KnnPreset("sslight", (20,), TEMPERATURE),
    )
}


@dataclass(frozen=True, slots=True)
class TrainTestData:
    """A labelled bank and labelled queries whose class numbers mean the same."""

    bank: ImageSource
    queries: ImageSource


def open_train_test(
    source_spec: Images | TrainTestData,
    bank_split: str = "train",
    query_split: str | None = None,
    options: SourceOptions = DEFAULT_OPTIONS,
) -> TrainTestData:
    """Open both parts of a set of images; those without a class are left out.

    Args:
        source_spec: See `open_source`; or both parts, as they are open already.
        bank_split: Images whose labels are known.
        query_split: Images to classify; None takes "validation", else "test", else, where the set is not divided at
            all, a fifth of each class, which the bank then lacks.
        options: How images are found and read.

    Raises:
        LowzooError: No such set or split, no labels, the same images twice, or a class of the queries
            that the bank lacks.
    """
    if isinstance(source_spec, TrainTestData):
        if options != DEFAULT_OPTIONS:
            raise LowzooError("the images are open already", "Give options when opening them")
        bank = source_spec.bank.labelled()
        return TrainTestData(bank, require_known_classes(bank, source_spec.queries.labelled()))
    images = open_set(source_spec, options)
    bank = images.open(bank_split).labelled()
    if query_split is None and images.splits == (bank_split,):
        return TrainTestData(*hold_out(bank))
    chosen = query_split or next((name for name in ("validation", "test") if name in images.splits), "validation")
    queries = images.open(chosen).labelled()
    if bank.fingerprint() == queries.fingerprint():
        raise LowzooError(f"bank and queries are the same images, {bank.name}", "Choose two different splits")
    return TrainTestData(bank, require_known_classes(bank, queries))


def spared(images: ImageSource) -> int:
    """Images that `hold_out` takes; 0 where no class has two, or fewer than two images would be left."""
    if images.labels is None:
        return 0
    counts = np.bincount(images.labels[images.labels >= 0])
    if not len(counts) or counts.max() < 2:
        return 0
    held = len(held_out(images.labels[images.labels >= 0], HELD_OUT_SHARE, seed=0)[1])
    return held if len(images) - held > 1 else 0


def hold_out(images: ImageSource) -> tuple[ImageSource, ImageSource]:
    """Divide images with classes: all but a fifth of each class, those without one among them, and that fifth."""
    labels = images.labels if images.labels is not None else images.require_labels()
    labelled = np.flatnonzero(labels >= 0)
    held = labelled[held_out(labels[labelled], HELD_OUT_SHARE, seed=0)[1]]
    rest = np.setdiff1d(np.arange(len(images)), held)
    return (
        dataclasses.replace(images.subset(rest), name=f"{images.name} but a fifth of each class"),
        dataclasses.replace(images.subset(held), name=f"{images.name}, a fifth of each class"),
    )


def require_known_classes(bank: ImageSource, queries: ImageSource) -> ImageSource:
    """The queries with the bank's class numbers.

    Raises:
        LowzooError: They hold a class that the bank lacks.
    """
    before = queries.require_labels()
    numbered = queries.numbered_like(bank)
    unknown = [] if numbered.labels is None else np.unique(before[numbered.labels < 0]).tolist()
    if unknown:
        first = queries.class_names[unknown[0]] if queries.class_names else unknown[0]
        raise LowzooError(
            f"{queries.name} holds {len(unknown)} classes that {bank.name} lacks, e.g. {first!r}",
            "Give both the same class folders",
        )
    return numbered


def knn_preset(name: str) -> KnnPreset:
    """The settings of that name.

    Raises:
        LowzooError: There are none.
    """
    if name not in _PRESETS:
        raise LowzooError(f"there is no k-NN of protocol {name!r}", f"Choose of: {', '.join(_PRESETS)}")
    return _PRESETS[name]


def fitting_ks(ks: Sequence[int] | None, bank: int, preset: KnnPreset | None = None) -> tuple[int, ...]:
    """Give the wanted numbers of neighbours, or without a wish those of the protocol that the bank allows; rising.

    Raises:
        LowzooError: A wanted number is below 1 or above the size of the bank.
    """
    if ks is None:
        return tuple(sorted(k for k in (preset.ks if preset else KS) if k <= bank)) or (bank,)
    for k in ks:
        check_k(k, bank)
    return tuple(sorted(set(ks)))


def evaluate_knn(
    resolved: Resolved,
    data: TrainTestData,
    *,
    ks: Sequence[int] | None = None,
    temperature: float = TEMPERATURE,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: bool = True,
) -> EvaluationResult:
    """Measure the k-NN top-1 accuracy of a network's features: see `score_knn`."""
    how = Extraction(device=device, workers=workers, progress=progress)
    preset = dataclasses.replace(_PRESETS["dino"], temperature=temperature)
    return score_knn(resolved, data, preset=preset, ks=ks, how=how).result


def score_knn(
    resolved: Resolved,
    data: TrainTestData,
    *,
    preset: KnnPreset,
    ks: Sequence[int] | None = None,
    neighbors: Neighbors = "exact",
    how: Extraction = Extraction(),
) -> Scored:
    """Classify the queries by their neighbours in the bank.

    Args:
        resolved: The network.
        data: Bank and queries.
        preset: Temperature, and numbers of neighbours.
        ks: Other numbers of neighbours.
        neighbors: Find the nearest neighbours exactly, or nearly all of them by an index.
        how: How features are computed.

    Returns:
        The result; predictions are those of the preset's main k, or of the smallest where the bank is too small.

    Raises:
        LowzooError: A k does not fit, one class only, or images cannot be read.
    """
    require_answerable(data, preset=preset, ks=ks, neighbors=neighbors)
    pairs = {"knn": how.run(resolved, (data.bank, data.queries))}
    return scored_pairs(resolved, data, pairs, preset=preset, ks=ks, neighbors=neighbors, how=how)


def require_answerable(
    data: TrainTestData, *, preset: KnnPreset, ks: Sequence[int] | None, neighbors: Neighbors
) -> None:
    """Refuse, before any feature is computed, what k-NN would refuse after.

    Raises:
        LowzooError: A k does not fit, one class only, or faiss is wanted and not there.
    """
    require_classes(data.bank.require_labels(), data.bank.name)
    if neighbors == "approximate":
        require_faiss()
    fitting_ks(ks, len(data.bank), preset)


def scored_pairs(
    resolved: Resolved,
    data: TrainTestData,
    pairs: Mapping[str, Sequence[Features]],
    *,
    preset: KnnPreset,
    ks: Sequence[int] | None,
    neighbors: Neighbors,
    how: Extraction,
    settings: Mapping[str, object] = MappingProxyType({}),
    bank_by: str = "",
) -> Scored:
    """Give the result of every k-NN, of one network or across two.

    Args:
        resolved: The network whose result it is.
        data: What the features are of.
        pairs: Features of a bank and of queries, under the name of their figures; facts of the data and predictions are
            of the first.
        preset: Temperature, and numbers of neighbours.
        ks: Other numbers of neighbours.
        neighbors: Find the nearest neighbours exactly, or nearly all of them by an index.
        how: How features were computed.
        settings: What else the figures depend on.
        bank_by: Name of the model that made the bank, if it is another one.
    """
    # A model of more pixels may refuse a picture that another has read; every figure is of its own images.
    chosen = fitting_ks(ks, min(len(bank.x) for bank, _ in pairs.values()), preset)
    found = {
        name: predictions_of(bank, queries, chosen, preset.temperature, neighbors, how)
        for name, (bank, queries) in pairs.items()
    }
    searched = {name: how_found.as_dict() for name, (_, how_found) in found.items() if how_found}
    first = next(iter(pairs))
    bank, queries = pairs[first]
    main = preset.ks[0] if preset.ks[0] in chosen else chosen[0]
    result = EvaluationResult(
        protocol="knn",
        preset=preset.name,
        model=ModelFacts.of(resolved),
        data={
            "bank": DataFacts.of_features(data.bank, bank),
            "queries": DataFacts.of_features(data.queries, queries),
        },
        settings={
            "k": list(chosen),
            "temperature": preset.temperature,
            "similarity": "cosine",
            "neighbors": neighbors,
            # Of one search its facts alone, of several by the names of their figures.
            **({"approximation": searched if len(pairs) > 1 else searched[first]} if searched else {}),
            "precision": how.precision,
            "preprocessing": dataclasses.asdict(Preprocessing.of(resolved)),
            **settings,
        },
        figures=tuple(
            Figure.accuracy(f"{name}_top1_k{k}", [percent_right(found[name][0][k], asked.labels)], len(asked.labels))
            for name, (_, asked) in pairs.items()
            for k in chosen
        ),
        versions=versions(),
    )
    words = f"k-NN, k = {main}" + (f", bank by {bank_by}" if bank_by else "")
    return Scored(result, queries.labels, found[first][0][main], words)


def predictions_of(
    bank: Features,
    queries: Features,
    ks: Sequence[int],
    temperature: float,
    neighbors: Neighbors,
    how: Extraction,
) -> tuple[dict[int, Tensor], Approximation | None]:
    """Classes (M,) of the queries for every k, and what was searched instead of the whole bank."""
    among = how.among
    if neighbors == "approximate":

        def searched() -> tuple[dict[int, Tensor], Approximation] | None:
            # An index takes longer to make than to ask: one process does both.
            if not among.is_main:
                return None
            similarity, nearest, about = approximate_neighbours(bank.x, queries.x, max(ks))
            return votes(similarity, bank.labels[nearest], ks=ks, temperature=temperature), about

        found = among.collect(searched)[0]
        assert found is not None
        return found
    part, places = among.part(len(queries.x)), _devices(how.device)
    mine = among.attempt(
        lambda: knn_predictions(
            bank.x,
            bank.labels,
            queries.x[part.start : part.stop],
            ks=ks,
            temperature=temperature,
            devices=places,
        )
    )
    return {k: among.gather_rows(predictions) for k, predictions in mine.items()}, None


def _devices(device: str | torch.device) -> list[torch.device]:
    """Where to search: every GPU where the network ran on "cuda" without a number.

    Apple's GPUs know no float64, which the search ends in; it is short anyway.
    """
    place = torch.device(device)
    if place.type != "cuda":
        return [torch.device("cpu")]
    return [place] if place.index is not None else [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
