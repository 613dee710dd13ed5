"""OpenVINO on this computer's CPU, in one stream and in float32 whatever the processor prefers."""

from typing import Any

import openvino
from numpy.typing import NDArray

from lowzoo.bench.engines import Run


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Load the file; `spinning` is nothing that this runtime knows."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(pixels: NDArray[Any]) -> object:
        return request.infer({0: pixels})

    return run
