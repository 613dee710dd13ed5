"""MNN on this computer's CPU."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lowzoo.base.native import native_quiet
from lowzoo.bench.engines import Run
from lowzoo.export.formats.mnn.writer import load_module, runner

with native_quiet():  # it prints a line when it is imported
    import MNN  # noqa: F401


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Load the file; `spinning` is nothing that this runtime knows. A run copies the input in and every output out."""
    module, _ = load_module(Path(model), threads)

    def run(pixels: NDArray[Any]) -> object:
        return runner(module, pixels.shape, pixels.dtype)(pixels)

    return run
