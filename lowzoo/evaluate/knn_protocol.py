"""The k-NN protocol from sources to a result: features of both sets, votes, figures."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowzoo.data.source import ImageSource, open_source, split_names
from lowzoo.errors import LowzooError
from lowzoo.evaluate.features import Features, extract_features
from lowzoo.evaluate.knn import KS, TEMPERATURE, check_k, knn_accuracy
from lowzoo.evaluate.preprocess import Preprocessing
from lowzoo.evaluate.result import DataFacts, EvaluationResult, Figure, ModelFacts, versions
from lowzoo.resolve import Resolved


@dataclass(frozen=True, slots=True)
class KnnData:
    """A labelled bank and labelled queries whose class numbers mean the same."""

    bank: ImageSource
    queries: ImageSource


def open_knn_data(word: str | None, bank_split: str = "train", query_split: str = "validation") -> KnnData:
    """Open both parts of a set of images.

    Raises:
        LowzooError: No such set or split, no labels, the same images twice, or a class of the queries that the bank
            lacks.
    """
    if query_split not in split_names(word) and len(split_names(word)) == 1:
        raise LowzooError(
            f"{word} is not divided into splits", "Put its images into the sub-folders train and validation"
        )
    bank, queries = open_source(word, bank_split), open_source(word, query_split)
    bank.require_labels()
    if bank.fingerprint() == queries.fingerprint():
        raise LowzooError(
            f"bank and queries are the same images, {bank.name}", "Choose two splits by --bank-split and --query-split"
        )
    return KnnData(bank, dataclasses.replace(queries, labels=_numbers_of(bank, queries), class_names=bank.class_names))


def fitting_ks(ks: Sequence[int] | None, bank: int) -> tuple[int, ...]:
    """Give the wanted numbers of neighbours, or without a wish those of the protocol that the bank allows.

    Raises:
        LowzooError: A wanted number is below 1 or above the size of the bank.
    """
    if ks is None:
        return tuple(k for k in KS if k <= bank) or (bank,)
    for k in ks:
        check_k(k, bank)
    return tuple(sorted(set(ks)))


def evaluate_knn(
    resolved: Resolved,
    data: KnnData,
    *,
    ks: Sequence[int] | None = None,
    temperature: float = TEMPERATURE,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: bool = True,
) -> EvaluationResult:
    """Measure the k-NN top-1 accuracy of a network's features.

    Args:
        resolved: The network.
        data: Bank and queries.
        ks: Numbers of neighbours; those of the protocol if None.
        temperature: Of the vote weights.
        device: What torch calls the device.
        workers: Processes that decode.
        progress: Show bars on stderr.

    Raises:
        LowzooError: A k does not fit, or images cannot be read.
    """
    fitting_ks(ks, len(data.bank))
    bank = extract_features(resolved, data.bank, device=device, workers=workers, progress=progress)
    queries = extract_features(resolved, data.queries, device=device, workers=workers, progress=progress)
    chosen = fitting_ks(ks, len(bank.x))
    top1 = knn_accuracy(*_on(bank, device), *_on(queries, device), ks=chosen, temperature=temperature)
    return EvaluationResult(
        protocol="knn",
        model=ModelFacts.of(resolved),
        data={"bank": DataFacts.of(data.bank, bank.skipped), "queries": DataFacts.of(data.queries, queries.skipped)},
        settings={
            "k": list(chosen),
            "temperature": temperature,
            "similarity": "cosine",
            "preprocessing": dataclasses.asdict(Preprocessing.of(resolved)),
        },
        figures=tuple(Figure(metric=f"knn_top1_k{k}", unit="%", mean=round(top1[k], 4)) for k in chosen),
        versions=versions(),
    )


def _on(features: Features, device: str | torch.device) -> tuple[Tensor, Tensor]:
    # Apple's GPUs lack some of the operations on int64; the search is short anyway.
    target = torch.device(device) if torch.device(device).type == "cuda" else "cpu"
    return features.x.to(target), features.labels.to(target)


def _numbers_of(bank: ImageSource, queries: ImageSource) -> NDArray[np.int64]:
    """Number the queries' classes as the bank does: folders number what they hold, and a class may be missing."""
    labels = queries.require_labels()
    if bank.class_names is None or queries.class_names is None or bank.class_names == queries.class_names:
        return labels
    number = {name: i for i, name in enumerate(bank.class_names)}
    unknown = [name for name in queries.class_names if name not in number]
    if unknown:
        raise LowzooError(
            f"{queries.name} holds {len(unknown)} classes that {bank.name} lacks, e.g. {unknown[0]!r}",
            "Give both the same class folders",
        )
    table = np.array([number[name] for name in queries.class_names], np.int64)
    return table[labels]
