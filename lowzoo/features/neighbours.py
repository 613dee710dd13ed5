"""The k nearest features of every query, exactly, in bounded memory, on one device or several.

The bank is searched block by block in float32, and the candidates that are left are compared again in float64: the
result is that of a stable sort in double precision, whatever the blocks, the threads and the device. (A wrong result
would need more than `_SPARE` features within float32's rounding of the k-th.)
Shapes: N bank features, M queries, D dimensions, K neighbours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lowzoo.base.errors import LowzooError

# 1,024 x 32,768 similarities are 134 MB; a block of a bank of 768 dimensions is 101 MB.
CHUNK, BLOCK = 1024, 32768
_SPARE = 16
_EXACT_CHUNK = 64


def check_k(k: int, bank: int) -> None:
    """Refuse a number of neighbours below 1 or above the size of the bank."""
    if not 1 <= k <= bank:
        raise LowzooError(f"k = {k} neighbours cannot be found among {bank}", f"Choose k between 1 and {bank}")


def nearest_neighbours(
    bank_ND: Tensor,
    queries_MD: Tensor,
    k: int,
    *,
    chunk: int = CHUNK,
    block: int = BLOCK,
    devices: Sequence[str | torch.device] = (),
) -> tuple[Tensor, Tensor]:
    """Find the k nearest bank features of every query; of equally near ones the first in the bank.

    Args:
        bank_ND: Any floating type, normalised here block by block; may be mapped from a file.
        queries_MD: Any floating type, normalised here.
        k: Number of neighbours.
        chunk: Queries compared at a time, which with `block` bounds memory.
        block: Bank features compared at a time.
        devices: Where to search, an equal part of the queries on each; the device of the queries if empty.

    Returns:
        Cosine similarities (M, k) float64, falling, and indices into the bank (M, k), both where the queries are.

    Raises:
        LowzooError: k is below 1 or above the size of the bank.
    """
    check_k(k, len(bank_ND))
    places = [torch.device(device) for device in devices] or [queries_MD.device]
    parts = [part for part in queries_MD.tensor_split(len(places)) if len(part)]
    searches = [
        _Search(part.to(place), min(k + _SPARE, len(bank_ND)), chunk)
        for part, place in zip(parts, places, strict=False)
    ]
    for start in range(0, len(bank_ND), block):
        rows = bank_ND[start : start + block]
        # GPUs work while the next one is being told what to do.
        for search in searches:
            search.add(rows, start)
    found = [search.best(bank_ND, k) for search in searches]
    home = queries_MD.device
    if not found:
        return torch.empty(0, k, dtype=torch.float64, device=home), torch.empty(0, k, dtype=torch.int64, device=home)
    return torch.cat([values.to(home) for values, _ in found]), torch.cat([index.to(home) for _, index in found])


class _Search:
    """The best candidates so far of some queries."""

    def __init__(self, queries: Tensor, candidates: int, chunk: int) -> None:
        self._queries = queries
        self._units = normalize(queries.float(), dim=1)
        self._candidates, self._chunk = candidates, chunk
        self._values = self._units.new_full((len(queries), candidates), -torch.inf)
        self._indices = torch.zeros(len(queries), candidates, dtype=torch.int64, device=queries.device)

    def add(self, rows: Tensor, start: int) -> None:
        block = normalize(rows.to(self._units.device).float(), dim=1).T
        for i in range(0, len(self._units), self._chunk):
            part = slice(i, i + self._chunk)
            values, indices = (self._units[part] @ block).topk(min(self._candidates, block.shape[1]), dim=1)
            merged = torch.cat([self._values[part], values], dim=1)
            known = torch.cat([self._indices[part], indices + start], dim=1)
            self._values[part], order = merged.topk(self._candidates, dim=1)
            self._indices[part] = known.gather(1, order)

    def best(self, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
        return compared_again(bank, self._queries, self._indices, k)


def compared_again(bank_ND: Tensor, queries_MD: Tensor, candidates_MC: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of some candidates of each query, compared in float64; of equal ones the first in the bank.

    Args:
        bank_ND: Any floating type.
        queries_MD: Any floating type.
        candidates_MC: Indices into the bank, at least k a query and each once, where the queries are.
        k: Number of neighbours.

    Returns:
        Cosine similarities (M, k) float64, falling, and indices into the bank (M, k).
    """
    values, indices = [], []
    for i in range(0, len(queries_MD), _EXACT_CHUNK):
        # In the order of the bank, so that a stable sort leaves equal ones in it.
        candidates = candidates_MC[i : i + _EXACT_CHUNK].sort(dim=1).values
        rows = bank_ND[candidates.to(bank_ND.device)].to(candidates.device)
        queries = normalize(queries_MD[i : i + _EXACT_CHUNK].double(), dim=1)
        # Sums of rows, not a matmul: a row's then does not depend on which others are beside it.
        similarity = (normalize(rows.double(), dim=2) * queries[:, None]).sum(dim=2)
        ordered, order = similarity.sort(dim=1, descending=True, stable=True)
        values.append(ordered[:, :k])
        indices.append(candidates.gather(1, order)[:, :k])
    return torch.cat(values), torch.cat(indices)
