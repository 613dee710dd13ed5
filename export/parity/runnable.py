"""An artifact that is loaded: how to feed it, and what it gives, whichever runtime does it."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import reason_of
from lowzoo.export.spec.bounds import ParityError
from lowzoo.preprocess.input_facts import channels_last
from lowzoo.preprocess.transform import InputSpec, preprocess, to_uint8_input

# Batches that a dynamic artifact is tried with, in turn: exporters have been right for some and wrong for others.
_DYNAMIC_BATCHES = (1, 5, 2)

Array = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Runnable:
    """An artifact in its runtime.

    Args:
        path: Path of the file or folder.
        format: Format of the file, one of `lowzoo.export.spec.spec.FORMATS`.
        engine: What runs it, with its version.
        shape: Shape of the input, (B, H, W, C) or (B, C, H, W); a batch of 0 is dynamic.
        dtype: Type of the input.
        pixels: The input is pixels in [0, 255] and the graph normalises it.
        metadata: Key and value pairs inside the file.
        run: A batch of the input's shape to rows (B, D) or maps (B, C, H, W), float32; one array, or a tuple of them
            where the file has several outputs.
        probabilities: The rows are a softmax of the class scores.
        not_run: What a phone does with the file and this system could not do, one sentence; empty if nothing.
    """

    path: Path
    format: str
    engine: str
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    pixels: bool
    metadata: dict[str, str]
    run: Callable[[NDArray[Any]], Array | tuple[Array, ...]]
    probabilities: bool = False
    not_run: str = ""

    @property
    def pixels_last(self) -> bool:
        """Whether the input is (B, H, W, C) and not (B, C, H, W)."""
        found = channels_last(self.shape, self.said("input").get("layout"))
        return self.shape[3] < self.shape[1] if found is None else found

    @property
    def channels(self) -> int:
        """Number of channels of the input."""
        return self.shape[3] if self.pixels_last else self.shape[1]

    @property
    def side(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape[1:3] if self.pixels_last else self.shape[2:4]

    def said(self, key: str) -> dict[str, Any]:
        """Give a piece of metadata that is JSON; empty if it is absent or is none."""
        try:
            value = json.loads(self.metadata.get(f"lowzoo.{key}", "{}"))
        except json.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}


def rows_of(artifact: Runnable, images: list[Image], spec: InputSpec) -> Array:
    """As `outputs_of`, of an artifact with one output: (N, D).

    Raises:
        ParityError: It does not run, or has several outputs.
    """
    found = outputs_of(artifact, images, spec)
    if len(found) != 1:
        raise ParityError(f"the artifact has {len(found)} outputs, and not one")
    return found[0]


def outputs_of(
    artifact: Runnable, images: list[Image], spec: InputSpec, reduce: Callable[[Array], Array] = lambda found: found
) -> tuple[Array, ...]:
    """Run an artifact on images, in batches of its own size, the last one filled up.

    Args:
        artifact: What runs.
        images: Each (h, w, 3) RGB, or with the channels of the network.
        spec: Resize, crop and normalisation.
        reduce: What is kept of an output (B, ...), where all of it would take too much memory.

    Returns:
        (N, ...) of each output.

    Raises:
        ParityError: It does not run.
    """
    rows: list[tuple[Array, ...]] = []
    sizes = _batch_sizes(artifact)
    try:
        while len(rows) < len(images):
            batch = [images[i % len(images)] for i in range(len(rows), len(rows) + next(sizes))]
            found = artifact.run(np.stack([input_of(image, artifact, spec) for image in batch]))
            each = found if isinstance(found, tuple) else (found,)
            rows.extend(zip(*(reduce(output) for output in each), strict=True))
    except ParityError:
        raise
    except Exception as error:  # every runtime has classes of its own for each kind of failure
        reason = reason_of(error)
        remedy = "Export it again" if artifact.shape[0] == 1 else "Export it with --batch 1"
        raise ParityError(f"{artifact.engine} cannot run the artifact ({reason})", remedy) from error
    return tuple(np.stack(output) for output in zip(*rows[: len(images)], strict=True))


def _batch_sizes(artifact: Runnable) -> Iterator[int]:
    return itertools.cycle((artifact.shape[0],) if artifact.shape[0] else _DYNAMIC_BATCHES)


def input_of(image: Image, artifact: Runnable, spec: InputSpec) -> NDArray[Any]:
    """One picture as the artifact takes it, without the batch."""
    if artifact.pixels:
        pixels = to_uint8_input(image, spec)
        return (pixels if artifact.pixels_last else pixels.transpose(2, 0, 1)).astype(artifact.dtype)
    planes = preprocess(image, spec).numpy()
    return (planes.transpose(1, 2, 0) if artifact.pixels_last else planes).astype(artifact.dtype)
