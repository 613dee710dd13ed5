"""Features that something else has made, a phone, a browser or a server's index, as one more of the matrix."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.export.formats import FORMATS
from lowzoo.export.parity.runnable import Array
from lowzoo.preprocess.transform import Preprocessing

SUFFIX = ".parquet"
# What an index of `lowzoo embed` says of its weights: so many digits of their hash.
HASH = len("sha256:") + 16


@dataclass(frozen=True)
class FeatureTable:
    """A table of `path` and `vector`.

    Args:
        path: Path of the file.
        places: The path of each picture, as the table has it.
        vectors: Features (N, D).
        metadata: What the table says of itself, by the keys of an exported file: `lowzoo.model`, `lowzoo.weights`,
            `lowzoo.precision`, `lowzoo.engine`.
        preparation: How pictures were prepared; None where the table does not say.
    """

    path: Path
    places: tuple[str, ...]
    vectors: Array
    metadata: dict[str, str]
    preparation: Preprocessing | None = None

    @property
    def engine(self) -> str:
        """What has made the features, as far as the table says."""
        return self.metadata.get("lowzoo.engine", "a table of features")

    @property
    def precision(self) -> str:
        """What they were computed in, "unknown" if the table does not say."""
        return self.metadata.get("lowzoo.precision", "unknown")

    def of(self, wanted: Sequence[str]) -> Array:
        """The rows of these pictures.

        Args:
            wanted: Their places. Where none of them is in the table, folders that all places have in common are left
                out on either side.

        Raises:
            LowzooError: It lacks some of them, or holds one twice.
        """
        ours, theirs = list(self.places), list(wanted)
        if not set(ours) & set(theirs):
            ours, theirs = _below_root(ours), _below_root(theirs)
        rows = {place: i for i, place in enumerate(ours)}
        missing = [place for place, own in zip(wanted, theirs, strict=True) if own not in rows]
        if missing:
            raise LowzooError(
                f"{self.path} has no features of {len(missing)} of the {len(wanted)} labelled pictures, e.g. "
                f"{missing[0]!r}; its first path is {self.places[0]!r}",
                "Name by --data the pictures that it was made from",
            )
        asked = set(theirs)
        twice = [place for i, place in enumerate(ours) if place in asked and rows[place] != i]
        if twice:
            raise LowzooError(f"{self.path} has features of {twice[0]!r} twice", "Make the table again")
        return self.vectors[[rows[own] for own in theirs]]


def is_table(path: Path) -> bool:
    """Whether a file is taken for a table of features."""
    return path.suffix.lower() == SUFFIX


def open_table(path: Path) -> FeatureTable:
    """Read a table of `lowzoo embed`, or one made elsewhere with the same two columns.

    Raises:
        LowzooError: No such file, no parquet, other columns, vectors of several widths, or of another model's space.
    """
    from lowzoo.evaluate.embeddings import require_pyarrow

    pyarrow = require_pyarrow()
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise LowzooError(f"{path} does not exist", "Name a table of `lowzoo embed --out FILE.parquet`")
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise LowzooError(f"{path} cannot be read ({reason_of(error)})", "Make the table again") from error
    columns = table.column_names
    if absent := [name for name in ("path", "vector") if name not in columns]:
        raise LowzooError(
            f"{path} has no column {absent[0]!r}, but {', '.join(columns) or 'none'}",
            "Write a row for each picture: its path, and its features as vector",
        )
    if not len(table):
        raise LowzooError(f"{path} holds no vectors", "Make the table again")
    held = getattr(table["vector"].type, "value_type", None)
    vectors: Array = np.empty(0, np.float32)
    if held is not None and pyarrow.types.is_floating(held):
        with contextlib.suppress(TypeError, ValueError):  # a row is missing, or of another width
            vectors = np.array(table["vector"].to_pylist(), np.float32)
    if vectors.ndim != 2 or np.isnan(vectors).any():
        raise LowzooError(f"the vectors of {path} are no numbers of one width", "Make the table again")
    places = tuple(map(str, table["path"].to_pylist()))
    return FeatureTable(path, places, vectors, *_said(path, table.schema))


def _said(path: Path, schema: Any) -> tuple[dict[str, str], Preprocessing | None]:
    """What a table says of its model, and of how pictures were prepared."""
    try:
        found = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        said = json.loads(found.pop("lowzoo", "{}"))
        if said.get("compatible"):
            raise LowzooError(
                f"the vectors of {path} lie in the space of another model, {said['compatible']['model']}",
                "Name a table that was made without --head",
            )
        model = said.get("model", {})
        if model.get("name"):
            found.setdefault("lowzoo.model", model["name"])
        if model.get("weights"):
            found.setdefault("lowzoo.weights", f"sha256:{model['weights']}")
        held = said.get("preprocessing")
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in (held or {}).items()}
        preparation = Preprocessing(**fields) if fields else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LowzooError(f"what {path} says of itself cannot be read", "Make the table again") from error
    known = {each for name in FORMATS for each in FORMATS[name].precisions}
    if (precision := found.get("lowzoo.precision")) is not None and precision not in known:
        raise LowzooError(
            f"{path} says that its precision is {precision!r}",
            f"Use one of {', '.join(sorted(known))}, or leave it out",
        )
    return {key: value for key, value in found.items() if key.startswith("lowzoo.")}, preparation


def _below_root(places: Sequence[str]) -> list[str]:
    parts = [place.replace("\\", "/").split("/") for place in places]
    folders = zip(*(each[:-1] for each in parts), strict=False)
    common = len(list(takewhile(lambda names: len(set(names)) == 1, folders)))
    return ["/".join(each[common:]) for each in parts]
