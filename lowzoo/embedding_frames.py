"""A model as a function of tables: for Ray Data, for Spark's `mapInPandas`, or for a loop over frames.

frames.map_batches(FrameEmbedder, fn_constructor_kwargs={"model": "rob_vit_tiny"}, batch_format="pandas")   # Ray
frames.mapInPandas(over_frames("rob_vit_tiny"), "path string, vector array<float>")                         # Spark
"""

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lowzoo.base.errors import LowzooError

if TYPE_CHECKING:
    import pandas as pd


class FrameEmbedder:
    """Holds a model; a frame of images becomes one of vectors.

    Args:
        model: MODEL word.
        column: Column of encoded images (bytes), or of their paths.
        vector: Column of the vectors that the result has in its place; None for an image that cannot be read.
        device: cpu, cuda, cuda:1, mps or auto.
        image_size: Side of the network's input; the model's own if absent.
        head: "compatible" for vectors in the space of the model that a run is compatible with.
    """

    def __init__(
        self,
        model: Any = "rob_vit_tiny",
        column: str = "image",
        vector: str = "vector",
        device: str = "auto",
        image_size: int | None = None,
        head: str | None = None,
    ) -> None:
        from lowzoo.system.device import pick_device
        from lowzoo.zoo.compatible import headed
        from lowzoo.zoo.given import resolved_model

        self.column, self.vector = column, vector
        self._device = pick_device(device)
        self._resolved = headed(resolved_model(model, image_size=image_size), head)

    def __call__(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The frame with vectors in the place of images, row by row.

        Raises:
            LowzooError: It has no such column.
        """
        from PIL import Image

        from lowzoo.data.source import open_source
        from lowzoo.features.features import extract_features

        if self.column not in frame.columns:
            raise LowzooError(
                f"the table has no column {self.column!r}, only {', '.join(map(str, frame.columns))}",
                "Name the column of the images",
            )
        pictures, places = [], []
        for place, value in enumerate(frame[self.column]):
            try:
                content = io.BytesIO(value) if isinstance(value, bytes | bytearray | memoryview) else value
                with Image.open(content) as picture:
                    pictures.append(picture.convert("RGB"))
                places.append(place)
            except (OSError, ValueError, TypeError, AttributeError):  # shown to the reader as a row without a vector
                continue
        vectors: list[Any] = [None] * len(frame)
        if pictures:
            found = extract_features(
                self._resolved, open_source(pictures), device=self._device, progress=False, cache=False
            )
            for row, kept in zip(found.x.numpy(), found.kept.tolist(), strict=True):
                vectors[places[kept]] = row.tolist()
        return frame.drop(columns=self.column).assign(**{self.vector: vectors})


def over_frames(model: Any = "rob_vit_tiny", **options: Any) -> Callable[[Iterator["pd.DataFrame"]], Iterator[Any]]:
    """A function from an iterator of frames to one, for Spark's `mapInPandas`; each call loads the model once.

    Args:
        model: MODEL word.
        **options: See `FrameEmbedder`.
    """

    def run(frames: Iterator["pd.DataFrame"]) -> Iterator[Any]:
        embedder = FrameEmbedder(model, **options)
        for frame in frames:
            yield embedder(frame)

    return run
