"""The k nearest features of every query, approximately: for a bank that is too large to be compared with as a whole.

faiss divides the bank into cells by k-means and keeps each feature in a byte a dimension, a quarter of what float32
takes; the bank itself may be mapped from a file. Of a query only the nearest cells are searched. The candidates that
are left are compared again with the bank in float64, so the similarities are exact, and only which neighbours are found
is not. How many are is measured: on half of a sample of queries the number of cells is raised until `RECALL` of the
exact neighbours are found, on the other half it is counted how many are. For a single query all cells are searched.
Shapes: N bank features, M queries, D dimensions, K neighbours.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lowzoo.base.errors import LowzooError
from lowzoo.features.neighbours import BLOCK, check_k, compared_again, nearest_neighbours

RECALL = 0.95
_SAMPLE = 256
_CELLS, _TRAINED_ON = 4096, 64  # at most, and bank features that a cell is fitted to
_ITERATIONS = 10
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Approximation:
    """What was searched, and how much of the truth was found.

    Args:
        index: Kind of the index.
        cells: Number of cells that the bank is divided into.
        probed: Number of cells that are searched for a query.
        recall: Fraction of the exact K nearest that are found, over `sample` queries that had no say in `probed`.
        sample: Number of these queries.
        k: K of the recall.
    """

    index: str
    cells: int
    probed: int
    recall: float
    sample: int
    k: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"approximate ({self.index}, {self.probed} of {self.cells} cells): {100 * self.recall:.1f} % of the exact "
            f"{self.k} nearest found, on {self.sample} queries"
        )


def require_faiss() -> Any:
    """Import faiss, or say how to install it."""
    try:
        import faiss
    except ImportError as error:
        raise LowzooError(
            "approximate neighbours need faiss", "Run: pip install 'lowzoo[faiss]', or search exactly"
        ) from error
    return faiss


def approximate_neighbours(
    bank_ND: Tensor, queries_MD: Tensor, k: int, *, recall: float = RECALL
) -> tuple[Tensor, Tensor, Approximation]:
    """Find nearly all of the k nearest bank features of every query, on the CPU.

    Args:
        bank_ND: Any floating type, normalised here block by block; may be mapped from a file.
        queries_MD: Any floating type, normalised here.
        k: Number of neighbours.
        recall: Fraction of the exact neighbours to find.

    Returns:
        Cosine similarities (M, k) float64, falling, indices into the bank (M, k), and what was searched.

    Raises:
        LowzooError: faiss is missing, or k is below 1 or above the size of the bank.
    """
    faiss = require_faiss()
    check_k(k, len(bank_ND))
    index = _index(faiss, bank_ND)
    sample = torch.linspace(0, len(queries_MD) - 1, min(_SAMPLE, len(queries_MD))).long().unique()
    tuned, measured = (sample[::2], sample[1::2]) if len(sample) > 1 else (sample[:0], sample)
    _, truth = nearest_neighbours(bank_ND, queries_MD[sample], k)
    truth_of = dict(zip(sample.tolist(), truth, strict=True))

    def found(rows: Tensor) -> float:
        _, nearest = _search(index, bank_ND, queries_MD[rows], k)
        hits = [
            torch.isin(truth_of[row], mine).float().mean() for row, mine in zip(rows.tolist(), nearest, strict=True)
        ]
        return float(torch.stack(hits).mean())

    index.nprobe = min(index.nlist, 8) if len(tuned) else index.nlist
    while len(tuned) and found(tuned) < recall and index.nprobe < index.nlist:
        index.nprobe = min(index.nlist, 2 * index.nprobe)
    about = Approximation(
        index=f"faiss {faiss.__version__} IVF, 8 bits a dimension",
        cells=index.nlist,
        probed=index.nprobe,
        recall=round(found(measured), 4),
        sample=len(measured),
        k=k,
    )
    return *_search(index, bank_ND, queries_MD, k), about


def _index(faiss: Any, bank: Tensor) -> Any:
    """Divide the bank into cells."""
    faiss.omp_set_num_threads(torch.get_num_threads())
    count, width = bank.shape
    cells = max(1, min(_CELLS, round(4 * math.sqrt(count)), count // 40))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(width), width, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.seed = _ITERATIONS, 0
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))[: cells * _TRAINED_ON].sort().values
    index.train(_units(bank[rows]))
    for start in range(0, count, BLOCK):
        index.add(_units(bank[start : start + BLOCK]))
    return index


def _search(index: Any, bank: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarities and indices (M, k), compared again with the bank."""
    wanted = min(len(bank), 2 * k + 16)
    values, nearest = [], []
    for part in queries.split(_CHUNK):
        units = _units(part)
        candidates = torch.from_numpy(index.search(units, wanted)[1])
        # Cells that hold too few: those queries search all of them.
        few = (candidates >= 0).sum(dim=1) < wanted
        if few.any():
            probed, index.nprobe = index.nprobe, index.nlist
            candidates[few] = torch.from_numpy(index.search(units[few.numpy()], wanted)[1])
            index.nprobe = probed
        similarity, indices = compared_again(bank, part, candidates, k)
        values.append(similarity)
        nearest.append(indices)
    return torch.cat(values), torch.cat(nearest)


def _units(rows: Tensor) -> Any:
    return normalize(rows.float(), dim=1).contiguous().numpy()
