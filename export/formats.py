"""The formats: what writes each, and what runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lowzoo.export.coreml import notes_of_coreml, open_coreml, unchecked_coreml, write_coreml
from lowzoo.export.executorch import notes_of_executorch, open_executorch, write_executorch
from lowzoo.export.judge import Judge
from lowzoo.export.litert import notes_of_litert, open_litert, write_litert
from lowzoo.export.onnx import write_onnx
from lowzoo.export.onnx_file import notes_of_onnx, open_onnx
from lowzoo.export.runnable import Runnable
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format.

    Args:
        suffix: Suffix of its files.
        folder: An artifact is a folder.
        write: Writes the module to a path; the judge measures candidates where a search is made.
            Gives warnings.
        load: Gives the artifact in a runtime.
        notes: What an artifact says of itself, without running it; empty if nothing or if it is none.
        unchecked: Marks an artifact that nothing here can run with the reason, and gives what stands for it; None where
            the format's runtime runs everything.
    """

    suffix: str
    folder: bool
    write: Callable[[nn.Module, Resolved, ExportSpec, Path, Judge], tuple[str, ...]]
    load: Callable[[Path], Runnable]
    notes: Callable[[Path], dict[str, str]]
    unchecked: Callable[[nn.Module, Resolved, ExportSpec, Path, str], Runnable] | None = None


EXPORTERS = {
    "onnx": Exporter(".onnx", False, write_onnx, open_onnx, notes_of_onnx),
    "coreml": Exporter(".mlpackage", True, write_coreml, open_coreml, notes_of_coreml, unchecked_coreml),
    "executorch": Exporter(".pte", False, write_executorch, open_executorch, notes_of_executorch),
    "litert": Exporter(".tflite", False, write_litert, open_litert, notes_of_litert),
}
