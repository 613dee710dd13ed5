"""An ONNX file in onnxruntime."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from lowzoo.base.errors import reason_of
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.large import data_files

_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}


def open_onnx(path: Path) -> Runnable:
    """Load a file with one picture as its only input.

    Raises:
        ParityError: onnxruntime cannot load it, or it takes something else.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised, and said once
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure, without a common base
        raise ParityError(f"onnxruntime cannot run the artifact ({_reason(path, error)})", "Export it again") from error
    inputs = session.get_inputs()
    sides = inputs[0].shape[1:] if len(inputs) == 1 and len(inputs[0].shape) == 4 else []
    if not sides or inputs[0].type not in _TYPES or not all(isinstance(side, int) for side in sides):
        found = ", ".join(f"{node.name}: {node.type} {node.shape}" for node in inputs) or "none"
        raise ParityError(f"{path} does not take one picture of a fixed size (inputs: {found})", "Export it again")
    batch = inputs[0].shape[0]
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    name, dtype = inputs[0].name, np.dtype(_TYPES[inputs[0].type])

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        return tuple(found.astype(np.float32) for found in session.run(None, {name: rows}))

    return Runnable(
        path=path,
        format="onnx",
        engine=f"onnxruntime {onnxruntime.__version__} (CPU)",
        shape=(batch if isinstance(batch, int) else 0, sides[0], sides[1], sides[2]),
        dtype=dtype,
        pixels=_normalises(metadata, dtype),
        metadata=metadata,
        run=run,
    )


def _reason(path: Path, error: Exception) -> str:
    if lost := [file.name for file in data_files(path) if not file.is_file()]:
        return f"its weights, {lost[0]}, do not lie beside it"
    reason = reason_of(error)
    return "it is damaged, or no ONNX file" if "Protobuf parsing failed" in reason else reason


def notes_of_onnx(path: Path) -> dict[str, str]:
    """What a file says of itself."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's DecodeError has moved between its versions
        return {}
    return {entry.key: entry.value for entry in model.metadata_props}


def _normalises(metadata: dict[str, str], dtype: np.dtype[Any]) -> bool:
    """A file of another origin says nothing; then bytes are pixels."""
    try:
        return bool(json.loads(metadata["lowzoo.preprocessing"])["normalised_in_graph"])
    except (KeyError, TypeError, json.JSONDecodeError):
        return dtype == np.uint8
