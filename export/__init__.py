"""Export: files that a phone runs, compared with PyTorch before they are handed over.

`lowzoo.export.export` and `lowzoo.export.check` are what the commands call. A format is a file in `formats/`; writers
stand beside. Normalisation is a layer of the graph, the batch is 1 and the size is fixed unless asked otherwise, and no
artifact stays on disk whose parity is broken.
"""

from typing import TYPE_CHECKING

from lowzoo.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from lowzoo.export.artifact import Artifact
    from lowzoo.export.checking import Report
    from lowzoo.export.cross import CrossReport
    from lowzoo.export.every import Exports
    from lowzoo.export.functions import check, cross_check, export
    from lowzoo.export.parity.parity import Parity
    from lowzoo.export.spec.bounds import ParityError
    from lowzoo.export.spec.spec import ExportSpec, MaxLoss

__all__ = [
    "Artifact",
    "CrossReport",
    "ExportSpec",
    "Exports",
    "MaxLoss",
    "Parity",
    "ParityError",
    "Report",
    "check",
    "cross_check",
    "export",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Artifact": "lowzoo.export.artifact",
        "CrossReport": "lowzoo.export.cross",
        "Exports": "lowzoo.export.every",
        "ExportSpec": "lowzoo.export.spec.spec",
        "MaxLoss": "lowzoo.export.spec.spec",
        "Parity": "lowzoo.export.parity.parity",
        "ParityError": "lowzoo.export.spec.bounds",
        "Report": "lowzoo.export.checking",
        "check": "lowzoo.export.functions",
        "cross_check": "lowzoo.export.functions",
        "export": "lowzoo.export.functions",
    },
)
