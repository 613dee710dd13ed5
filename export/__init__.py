"""Export: files that a phone runs, compared with PyTorch before they are handed over.

One exporter a file; `export` is the one door. Normalisation is a layer of the graph, the batch is 1 and the size is
fixed unless asked otherwise, and no artifact stays on disk whose parity is broken.
"""

from lowzoo.export.artifact import Artifact, export
from lowzoo.export.bounds import ParityError
from lowzoo.export.parity import Parity
from lowzoo.export.spec import ExportSpec, MaxLoss

__all__ = ["Artifact", "ExportSpec", "MaxLoss", "Parity", "ParityError", "export"]
