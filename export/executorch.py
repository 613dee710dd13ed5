"""ExecuTorch: a `.pte` program for XNNPACK, torch's own way to a phone's processor.

The file holds no notes: what it was made from is known to whoever exported it, and `lowzoo check` needs `--against`.
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.errors import LowzooError
from lowzoo.export.bounds import ParityError
from lowzoo.export.judge import Judge
from lowzoo.export.quiet import quiet
from lowzoo.export.runnable import Array, Runnable
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved

_TYPES = {0: np.uint8, 6: np.float32}  # ScalarType numbers


def write_executorch(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, judge: Judge
) -> tuple[str, ...]:
    """Lower the module to XNNPACK and write the program.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape and input.
        path: To write to.
        judge: Not needed: no search is made.

    Returns:
        No warnings.

    Raises:
        LowzooError: ExecuTorch is not there, does not fit this torch, or cannot lower the network.
    """
    _require()
    height, width = resolved.input_size[1:]
    batch = spec.batch if isinstance(spec.batch, int) else 1
    shape = (batch, height, width, 3) if spec.pixels_last else (batch, 3, height, width)
    example = torch.zeros(shape, dtype=torch.uint8 if spec.input == "image" else torch.float32)
    try:
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            program = torch.export.export(module, (example,))
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            content = lowered.to_executorch().buffer
    except Exception as error:  # a pass of the lowering may raise anything, as may the import beside another torch
        reason = " ".join(str(error).split())[:200]
        raise LowzooError(
            f"{resolved.name} cannot be exported by executorch {version('executorch')} and torch {torch.__version__} "
            f"({reason})",
            "Install the executorch of your torch, or name another format",
        ) from error
    path.write_bytes(content)
    return ()


def open_executorch(path: Path) -> Runnable:
    """Load a program in ExecuTorch's own runtime.

    Raises:
        LowzooError: ExecuTorch is not there.
        ParityError: The program does not load, or takes something else than one picture.
    """
    _require()
    try:
        with quiet():
            from executorch.runtime import Runtime

            method = Runtime.get().load_program(str(path)).load_method("forward")
            (taken,) = (method.metadata.input_tensor_meta(i) for i in range(method.metadata.num_inputs()))
            shape, dtype = tuple(taken.sizes()), np.dtype(_TYPES[taken.dtype()])
    except Exception as error:  # the runtime raises what its C++ throws
        reason = " ".join(str(error).split())[:200]
        raise ParityError(f"executorch cannot run the artifact ({reason})", "Export it again") from error
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ParityError(f"{path} does not take an RGB picture, but {list(shape)}", "Export it again")

    def run(rows: NDArray[Any]) -> Array:
        found: Array = method.execute([torch.from_numpy(np.ascontiguousarray(rows))])[0].numpy().copy()
        return found

    return Runnable(
        path=path,
        format="executorch",
        engine=f"executorch {version('executorch')} (XNNPACK)",
        shape=(shape[0], shape[1], shape[2], shape[3]),
        dtype=dtype,
        pixels=dtype == np.uint8,
        metadata={},
        run=run,
    )


def _require() -> None:
    if find_spec("executorch") is None:
        raise LowzooError("executorch is not installed", "Install lowzoo[executorch]")
