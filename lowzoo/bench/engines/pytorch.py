"""PyTorch itself, for reference: what the same network takes before it is exported."""

from typing import Any

import torch
from numpy.typing import NDArray

from lowzoo.bench.engines import Run
from lowzoo.bench.engines.network_spec import read_network_spec
from lowzoo.zoo.resolve import load_model


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Build and load the network that a MODEL word means; `spinning` is nothing that PyTorch lets one choose.

    Args:
        model: The word, see `lowzoo.bench.engines.network_spec`.
        threads: For one operator.
        spinning: Ignored.
    """
    return runner(build(model, threads))


def build(model: str, threads: int) -> torch.nn.Module:
    """The network in eval mode; sets the number of threads of this process."""
    torch.set_num_threads(threads)
    word, size, pretrained = read_network_spec(model)
    return load_model(word, image_size=size, pretrained=pretrained).model


def runner(network: Any) -> Run:
    """A run is a forward without a graph of gradients."""

    def run(pixels: NDArray[Any]) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(pixels))

    return run
