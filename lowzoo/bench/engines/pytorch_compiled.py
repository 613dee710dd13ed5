"""`torch.compile` with its defaults, for reference; the first run compiles."""

import torch

from lowzoo.bench.engines import Run
from lowzoo.bench.engines.pytorch import build, runner


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """As `lowzoo.bench.engines.pytorch.prepare`, compiled."""
    return runner(torch.compile(build(model, threads)))
