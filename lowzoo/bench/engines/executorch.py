"""ExecuTorch's own runtime on this computer's CPU; it has one pool of threads for the whole process."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lowzoo.bench.engines import Run


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Load the program; `spinning` is nothing that this runtime knows."""
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(model).load_method("forward")

    def run(pixels: NDArray[Any]) -> object:
        return method.execute([torch.from_numpy(np.ascontiguousarray(pixels))])

    return run
