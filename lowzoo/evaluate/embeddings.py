"""Features as a parquet file for search and clustering: one row an image, with its path, its vector and its label."""

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.printable import printable
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.result import DataFacts, ModelFacts
from lowzoo.features.features import Features
from lowzoo.io.files import atomic_path
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.resolve import Resolved

_ROWS = 8192


def require_pyarrow() -> ModuleType:
    """Import pyarrow, or say how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise LowzooError("parquet needs pyarrow", "Run: pip install 'lowzoo[eval]'") from error
    module: ModuleType = pyarrow
    return module


def write_embeddings(path: Path, source: ImageSource, features: Features, resolved: Resolved) -> None:
    """Write columns `path` (text), `vector` (D float32) and, for a labelled source, `label` (with its names).

    The label of an image without a class is empty. Bytes of paths that are no UTF-8 are written out by their numbers.
    The file says in its metadata, under `lowzoo`, which network and which images these are, how these were prepared,
    and in whose space the vectors lie, where it is another model's. pandas reads it as it is; `datasets` reads labels
    as classes.

    Args:
        path: The parquet file.
        source: The images.
        features: Theirs.
        resolved: The network.

    Raises:
        LowzooError: pyarrow is missing, or the place cannot be written to.
    """
    pyarrow = require_pyarrow()
    import pyarrow.parquet as parquet

    width = features.x.shape[1]
    labelled = source.labels is not None
    schema = pyarrow.schema(
        [("path", pyarrow.string()), ("vector", pyarrow.list_(pyarrow.float32(), width))]
        + ([("label", pyarrow.int64())] if labelled else []),
        metadata={
            "lowzoo": json.dumps(
                {
                    "model": ModelFacts.of(resolved).model_dump(),
                    "preprocessing": dataclasses.asdict(Preprocessing.of(resolved)),
                    "data": DataFacts.of_features(source, features).model_dump(),
                    **({"compatible": resolved.compatible.as_dict()} if resolved.compatible else {}),
                }
            ),
            "huggingface": json.dumps({"info": {"features": _features(source, width)}}),
        },
    )
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as out:
        for start in range(0, len(features.x), _ROWS):
            rows = slice(start, start + _ROWS)
            flat = pyarrow.array(features.x[rows].contiguous().view(-1).numpy())
            columns = [
                pyarrow.array([printable(source.where(index)) for index in features.kept[rows].tolist()]),
                pyarrow.FixedSizeListArray.from_arrays(flat, width),
            ]
            if labelled:
                columns.append(pyarrow.array(features.labels[rows].numpy(), mask=(features.labels[rows] < 0).numpy()))
            out.write_table(pyarrow.table(columns, schema=schema))


def _features(source: ImageSource, width: int) -> dict[str, Any]:
    """What the columns are, in the spelling of `datasets`."""
    described: dict[str, Any] = {
        "path": {"dtype": "string", "_type": "Value"},
        "vector": {"feature": {"dtype": "float32", "_type": "Value"}, "length": width, "_type": "Sequence"},
    }
    if source.labels is not None and source.class_names is not None:
        described["label"] = {"names": list(map(printable, source.class_names)), "_type": "ClassLabel"}
    elif source.labels is not None:
        described["label"] = {"dtype": "int64", "_type": "Value"}
    return described
