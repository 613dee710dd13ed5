"""LiteRT's interpreter on this computer's CPU, with XNNPACK as it comes."""

from typing import Any

from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from lowzoo.bench.engines import Run


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Load the file; `spinning` is nothing that this runtime knows. A run copies the input in and every output out."""
    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]["index"]
    given = [output["index"] for output in interpreter.get_output_details()]

    def run(pixels: NDArray[Any]) -> object:
        interpreter.set_tensor(taken, pixels)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in given]

    return run
