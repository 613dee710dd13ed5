"""int8 for runtimes whose own tools quantise: the first of several ways that keeps the stated loss.

Each way leaves more in float than the one before it, and is slower. The search of export/formats/onnx/quantize.py, node
by node, is ONNX's alone: elsewhere a candidate takes a conversion of seconds, and not a rewriting of one file.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.parity import bounds_of, broken
from lowzoo.export.parity.runnable import Image, Runnable
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.preprocess.transform import preprocess, to_uint8_input
from lowzoo.zoo.resolve import Resolved

Ways = dict[str, Callable[[], Runnable]]


def first_that_holds(ways: Ways, spec: ExportSpec, checker: ParityChecker) -> tuple[str, tuple[str, ...]]:
    """Write candidates in turn until one keeps the bound, which is then the file on disk.

    Args:
        ways: What each does, and what writes it and loads it.
        spec: With the bound.
        checker: Measures.

    Returns:
        The way taken, and a warning if it was not the first.

    Raises:
        ParityError: None of them keeps it, or can be written; it names what each loses, or why not.
    """
    bounds = bounds_of(spec)
    lost: list[str] = []
    unwritten: list[ParityError] = []
    for name, write in ways.items():
        checker.say(f"int8: trying it {name}")
        try:
            artifact = write()
        except ParityError as error:
            unwritten.append(error)
            lost.append(f"{name} gives {error.message}")
            continue
        try:
            # The k-NN loss takes eight times as many images as all the rest.
            wrong = broken(checker.parity(artifact, with_knn=False), replace(bounds, knn_loss=None))
            if not wrong and bounds.knn_loss is not None:
                wrong = broken(checker.parity(artifact, with_knn=True), bounds)
        except ParityError as error:
            wrong = [error.message]
        if not wrong:
            return name, (f"int8 is {name}, because {'; '.join(lost)}",) if lost else ()
        lost.append(f"{name} gives {', '.join(wrong)}")
    if len(unwritten) == len(ways):  # no loss that is allowed would help
        raise ParityError(f"no int8 file can be written: {'; '.join(lost)}", unwritten[-1].remedy or "Use fp32")
    raise ParityError(f"no int8 file keeps the stated loss: {'; '.join(lost)}", "Allow more by --max-loss, or use fp32")


def before_products(nodes: Iterable[tuple[str, bool, Iterable[str], Iterable[str]]]) -> tuple[str, ...]:
    """Names of the nodes behind no product: above all the normalisation, which int8 would slow and round once more.

    Args:
        nodes: (name, whether it is a product, what it reads, what it makes) in the order of computation.
    """
    behind: set[str] = set()
    names = []
    for name, product, reads, makes in nodes:
        if product or behind.intersection(reads):
            behind.update(makes)
        else:
            names.append(name)
    return tuple(names)


def graph_input(image: Image, resolved: Resolved, spec: ExportSpec) -> NDArray[np.generic]:
    """One picture, repeated to the batch, as the exported graph takes it."""
    if spec.input == "image":
        pixels = to_uint8_input(image, resolved)
        row: NDArray[np.generic] = pixels if spec.pixels_last else pixels.transpose(2, 0, 1)
    else:
        row = preprocess(image, resolved).numpy()
    batch = 2 if spec.batch == "dynamic" else spec.batch
    return np.ascontiguousarray(np.repeat(row[None], batch, 0))
