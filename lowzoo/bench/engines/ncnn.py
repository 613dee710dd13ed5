"""ncnn on this computer's CPU; its file computes in float16 where that is its precision and the processor can."""

from pathlib import Path
from typing import Any

import ncnn
from numpy.typing import NDArray

from lowzoo.bench.engines import Run
from lowzoo.export.formats.ncnn.graph import notes_of_ncnn
from lowzoo.export.formats.ncnn.writer import load_net, names_of


def prepare(model: str, threads: int, spinning: bool) -> Run:
    """Load the file; `spinning` is nothing that this runtime knows. A run copies the input in and every output out."""
    path = Path(model)
    notes = notes_of_ncnn(path)
    net = load_net(path, threads, half=notes.get("lowzoo.precision") == "fp16")
    taken, given = names_of(path, notes)

    def run(pixels: NDArray[Any]) -> object:
        extractor = net.create_extractor()
        extractor.input(taken, ncnn.Mat(pixels[0]).clone())
        return [extractor.extract(name)[1].numpy() for name in given]

    return run
