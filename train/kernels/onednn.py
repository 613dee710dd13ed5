"""Matmuls in fp32 on a CPU by oneDNN instead of MKL, in fp32 all the same.

MKL keeps its widest instructions to Intel's CPUs; on AMD's with AVX-512, oneDNN multiplies about twice as fast
(`benchmarks/products.py`). Without AVX-512 nothing changes.

torch has one switch that hands these matmuls over, and it is made for something else: it allows oneDNN to round to
bfloat16 inside. oneDNN does that only on CPUs that multiply matrices of bfloat16 (AMX); where a product that such
rounding would change does not come out exact, `check_onednn` refuses.

The switch is the whole process's, and while it is on, `torch.get_float32_matmul_precision` raises an error: therefore
nothing here happens unasked.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lowzoo.base.errors import LowzooError

# Large enough that torch asks oneDNN at all.
_TRIED = 256


def check_onednn(device: torch.device) -> None:
    """Refuse a device, torch or CPU that cannot do without a loss of precision.

    Raises:
        LowzooError: A GPU, a torch without the switch, or a CPU where matmuls would be rounded.
    """
    remedy = "Leave out onednn=true"
    if device.type != "cpu":
        raise LowzooError(f"onednn is for CPUs, and this run is on {device}", f"{remedy}, or add --device cpu")
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.backends.mkldnn, "matmul"):
        raise LowzooError(f"torch {torch.__version__} cannot hand its matmuls to oneDNN", f"{remedy}, or update torch")
    with onednn_matmuls():
        if not _exact():
            raise LowzooError("oneDNN would round to bfloat16 on this CPU", remedy)


@contextmanager
def onednn_matmuls() -> Iterator[None]:
    """Let oneDNN multiply fp32 matrices while the block runs; see `check_onednn`."""
    # Absent in releases that `check_onednn` refuses.
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


def _exact() -> bool:
    """Whether 13 bits of a number, of which bfloat16 has 8, survive a product with 1."""
    values = torch.full((_TRIED, _TRIED), 1 + 2.0**-12, dtype=torch.float32)
    return torch.equal(values @ torch.eye(_TRIED, dtype=torch.float32), values)
