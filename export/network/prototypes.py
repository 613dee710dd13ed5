"""A head that was taught by a few pictures: the cosine with the prototype of each class, inside an ONNX file.

A prototype is the mean of a class's features (D), each brought to unit length, itself brought to unit length. The head
is two nodes behind the features (B, D): they become unit vectors, and are multiplied with the prototypes (D, K). It
lives in the file alone, so that is where a check reads it from; a hash in the file's notes tells whether it is still
the one that was taught.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.base.errors import LowzooError
from lowzoo.zoo.resolve import Resolved

# The word that stands for this head in `lowzoo.source`, beside `own` and the name of a linear probe's file.
PROTOTYPES = "prototypes"
# What the head's tensors are called in the graph.
INITIALISER = "lowzoo.prototypes"
UNIT_FEATURES = "lowzoo.unit_features"
SIMILARITY = "similarity"
MEANING = "cosine with the prototype of each class, one row an image: the largest is the answer"


class PrototypeHead(nn.Module):
    """Features (B, D) to cosines with prototypes (B, K).

    Args:
        prototypes_DK: Unit vectors, a column a class.
    """

    prototypes_DK: Tensor

    def __init__(self, prototypes_DK: Tensor) -> None:
        super().__init__()
        self.register_buffer("prototypes_DK", prototypes_DK)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Cosines (B, K)."""
        return normalize(features_BD, dim=1) @ self.prototypes_DK


def read_prototypes(path: Path, source: Mapping[str, Any]) -> NDArray[np.float32]:
    """Read the prototypes (D, K) of an ONNX file.

    Args:
        path: Path of the file.
        source: Its `lowzoo.source`.

    Raises:
        LowzooError: It holds none, or others than were taught.
    """
    import onnx
    from onnx import numpy_helper

    remedy = "Teach it again by `lowzoo demo`"
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's DecodeError has moved between its versions
        raise LowzooError(f"{path} cannot be read as ONNX", remedy) from error
    found = [tensor for tensor in graph.initializer if tensor.name == INITIALISER]
    if len(found) != 1:
        raise LowzooError(f"{path} says that it was taught, and holds no {INITIALISER}", remedy)
    try:
        prototypes = np.asarray(numpy_helper.to_array(found[0]))
    except Exception as error:  # dimensions and bytes that do not fit one another
        raise LowzooError(f"the prototypes in {path} cannot be read", remedy) from error
    if prototypes.dtype != np.float32 or prototypes.ndim != 2 or not np.isfinite(prototypes).all():
        raise LowzooError(f"the prototypes in {path} are no finite float32 (features, classes)", remedy)
    if digest(prototypes) != source.get("head_sha256"):
        raise LowzooError(f"the prototypes in {path} are not those that were taught", remedy)
    return prototypes


def digest(prototypes_DK: NDArray[np.float32]) -> str:
    """SHA-256 of the numbers, little-endian, row by row."""
    return hashlib.sha256(np.ascontiguousarray(prototypes_DK, "<f4").tobytes()).hexdigest()


def with_prototypes(resolved: Resolved, prototypes_DK: NDArray[np.float32], where: str) -> Resolved:
    """Put the head behind a network.

    Raises:
        LowzooError: It is for another number of features.
    """
    with torch.inference_mode():
        features = resolved.model(torch.zeros(1, *resolved.input_size)).shape[1]
    if len(prototypes_DK) != features:
        raise LowzooError(
            f"the prototypes in {where} are of {len(prototypes_DK)} features, {resolved.name} gives {features}",
            "Name the model that was taught",
        )
    head = PrototypeHead(torch.from_numpy(np.array(prototypes_DK)))
    return replace(resolved, model=nn.Sequential(resolved.model, head).eval(), head=PROTOTYPES)
