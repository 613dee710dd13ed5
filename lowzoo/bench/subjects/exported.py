"""The file that is timed: the one that was named, or an export of a model in a temporary folder."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import Say
from lowzoo.export.artifact import write_artifact
from lowzoo.export.formats import FORMATS, Format, suffixes
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.preprocess.input_facts import Side
from lowzoo.zoo.given import resolved_model
from lowzoo.zoo.resolve import Resolved

_ANY_NAME = ".onnx"


@contextlib.contextmanager
def artifact_of(
    model: Any,
    suffix: str,
    *,
    untrained: bool,
    precision: str = "fp32",
    size: Side | None = None,
    say: Say = lambda _: None,
) -> Iterator[Path]:
    """Give the file to time: the model if it is one, else an export of it in a temporary folder.

    Args:
        model: A file, a MODEL word, a network, or what `lowzoo.load` gave.
        suffix: Suffix of the format that is needed.
        untrained: Leave the weights random.
        precision: Precision of the export.
        size: Size of the export; a file has its own already.
        say: Takes lines.

    Raises:
        LowzooError: A file of another format, or one with another size than its own wanted.
    """
    if isinstance(model, (str, Path)):
        path = Path(model)
        # Of files that exist an ONNX file alone may have any name.
        known = path.suffix in suffixes() or (path.is_file() and suffix != _ANY_NAME)
        if known and not path.name.endswith(suffix):
            raise LowzooError(f"{path} is no {suffix} file, which this engine runs", f"Name a {suffix} file or a MODEL")
        if path.name.endswith(suffix) or path.is_file():
            if size is not None:
                raise LowzooError(f"{path} has a size already", "Leave out --size, or name the MODEL")
            yield path
            return
    kind = _format_of(suffix)
    if kind is None:
        raise LowzooError(f"{model} cannot be exported as {suffix} here", f"Name a {suffix} file")
    resolved: Resolved = resolved_model(model, image_size=size, pretrained=not untrained)
    say(f"exporting {resolved.name}")
    spec = ExportSpec(format=kind.name, precision=precision, size=size)
    with tempfile.TemporaryDirectory(prefix="lowzoo-bench-") as folder:
        name = Path(model).name if isinstance(model, (str, Path)) else resolved.name.rpartition("/")[2]
        yield write_artifact(resolved, spec, Path(folder) / f"{name}{suffix}").path


def _format_of(suffix: str) -> Format | None:
    return next((kind for kind in FORMATS.specs() if kind.suffix == suffix), None)
