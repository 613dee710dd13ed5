"""A file that was taught, seen inside: its features, and its head computed from them once more.

What a precision may change is bounded for features; a few cosines tell too little of them, and neighbours among three
numbers flip by rounding alone. So the features are made an output of the graph that is run, and the head, which is two
nodes in float32, has to give what its prototypes give.
"""

import dataclasses
import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.printable import printable
from lowzoo.export.network.prototypes import INITIALISER, SIMILARITY, UNIT_FEATURES
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.spec.bounds import ParityError

# Of a cosine in float32; sums of a thousand products are off by some 1e-7.
TOLERANCE = 1e-5
_REMEDY = "Teach it again by `lowzoo demo`"


class HeadError:
    """How far the head was from the cosines with its prototypes so far.

    Args:
        names: Names of the classes.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.largest = 0.0

    def words(self) -> str:
        """One line for people."""
        shown = printable(", ".join(self.names[:8])) + (", ..." if len(self.names) > 8 else "")
        return (
            f"its head: cosines with the prototypes of {len(self.names)} classes ({shown}), off by {self.largest:.1e} "
            "at most"
        )


def open_inside(artifact: Runnable) -> tuple[Runnable, HeadError]:
    """Give a runnable of the file's features, which holds the head against its prototypes with every picture.

    Args:
        artifact: The file, an ONNX file with a head of `lowzoo.export.network.prototypes`.

    Returns:
        The runnable, and how far the head is off.

    Raises:
        LowzooError: Its graph has no such head, or as many names as classes it has not.
        ParityError: By running it: the head gives something else than the cosines.
    """
    model = onnx.load(artifact.path)
    graph = model.graph
    unit = [node for node in graph.node if list(node.output) == [UNIT_FEATURES]]
    product = [node for node in graph.node if list(node.output) == [SIMILARITY]]
    if len(unit) != 1 or len(product) != 1 or list(product[0].input) != [UNIT_FEATURES, INITIALISER]:
        raise LowzooError(f"{artifact.path} says that it was taught, and its graph has no such head", _REMEDY)
    features = unit[0].input[0]
    prototypes = next(numpy_helper.to_array(one) for one in graph.initializer if one.name == INITIALISER)
    error = HeadError(_names(artifact, prototypes.shape[1]))
    graph.output.append(onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised, and said once
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime has a class of its own for each kind of failure, without a common base
        raise LowzooError(f"{artifact.path} cannot be run ({reason_of(reason)})", _REMEDY) from reason
    name = session.get_inputs()[0].name

    def run(rows: NDArray[Any]) -> Array:
        cosines, found = session.run([SIMILARITY, features], {name: rows})
        wide = found.astype(np.float64)
        wanted = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12) @ prototypes
        off = float(np.abs(cosines - wanted).max()) if cosines.shape == wanted.shape else float("inf")
        if not off <= TOLERANCE:
            raise ParityError(f"the head in {artifact.path} is off from the cosines with its prototypes by {off:.1e}")
        error.largest = max(error.largest, off)
        rows_found: Array = found.astype(np.float32)
        return rows_found

    return dataclasses.replace(artifact, run=run), error


def _names(artifact: Runnable, things: int) -> tuple[str, ...]:
    try:
        names = json.loads(artifact.metadata.get("lowzoo.classes", ""))
    except ValueError:
        names = None
    if not isinstance(names, list) or len(names) != things or not all(isinstance(name, str) for name in names):
        raise LowzooError(f"{artifact.path} does not name the {things} classes of its head", _REMEDY)
    return tuple(names)
