"""k-NN across two models: one has made the bank, the other asks, through the map that it was trained with.

What an index loses when a student takes the place of the model that made it stands between the figures of both by
themselves.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from lowzoo.evaluate.knn_protocol import KnnPreset, Neighbors, TrainTestData, require_answerable, scored_pairs
from lowzoo.evaluate.result import ModelFacts, Scored
from lowzoo.features.extraction import Extraction
from lowzoo.features.features import Features
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.compatible import EmbeddingMap, UnitLength, load_bank_model, map_of
from lowzoo.zoo.given import resolved_model
from lowzoo.zoo.resolve import Resolved


def score_cross_knn(
    student: Resolved,
    bank_model: "str | Path | nn.Module | Resolved",
    data: TrainTestData,
    *,
    preset: KnnPreset,
    ks: Sequence[int] | None = None,
    neighbors: Neighbors = "exact",
    how: Extraction = Extraction(),
) -> Scored:
    """Classify queries of the student by their neighbours in a bank of the other model, and each by itself.

    Args:
        student: With a map beside its weights.
        bank_model: The model in whose space the map leads.
        data: Bank and queries.
        preset: Temperature, and numbers of neighbours.
        ks: Other numbers of neighbours.
        neighbors: Find the nearest neighbours exactly, or nearly all of them by an index.
        how: How features are computed.

    Returns:
        The result; predictions are those across the models.

    Raises:
        LowzooError: The student has no map, or one into the space of another model; as `score_knn`.
    """
    network, facts = map_of(student)
    model = load_bank_model(facts, lambda side: resolved_model(bank_model, image_size=side), student.name)
    require_answerable(data, preset=preset, ks=ks, neighbors=neighbors)
    own_bank, own_queries = how.run(student, (data.bank, data.queries))
    their_bank, their_queries = how.run(model, (data.bank, data.queries))
    return scored_pairs(
        student,
        data,
        {
            "cross_knn": (their_bank, mapped(network, own_queries)),
            "knn": (own_bank, own_queries),
            "bank_knn": (their_bank, their_queries),
        },
        preset=preset,
        ks=ks,
        neighbors=neighbors,
        how=how,
        settings={
            "bank_model": ModelFacts.of(model).model_dump(),
            "bank_preprocessing": dataclasses.asdict(Preprocessing.of(model)),
            "compatible": facts.as_dict(),
        },
        bank_by=model.name,
    )


@torch.inference_mode()
def mapped(network: EmbeddingMap, features: Features) -> Features:
    """Features of the student as unit vectors in the other model's space."""
    unit = UnitLength()
    blocks = [unit(network(block.float())) for block in features.x.split(4096)]
    return dataclasses.replace(features, x=torch.cat(blocks))
