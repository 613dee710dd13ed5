"""onnxruntime on this computer's CPU, as every measurement sets it up."""

from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from lowzoo.bench.engines import ENGINES, Run


def open_session(path: Path, threads: int, *, spinning: bool = True) -> onnxruntime.InferenceSession:
    """Load an ONNX file.

    Args:
        path: Path of the ONNX file.
        threads: For one operator.
        spinning: Whether idle threads burn time waiting for the next operator, as onnxruntime does by default.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.log_severity_level = 3  # errors; a warning of the runtime is nothing a user can act upon
    return onnxruntime.InferenceSession(str(path), options, providers=[ENGINES["onnxruntime"].provider])


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Load it; a run binds the input, computes and copies the output."""
    session = open_session(Path(model), threads, spinning=spinning)
    name = session.get_inputs()[0].name

    def run(pixels: NDArray[Any]) -> object:
        return session.run(None, {name: pixels})

    return run
