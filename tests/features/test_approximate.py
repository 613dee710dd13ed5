"""Approximate neighbours: nearly all of the exact ones, with exact similarities, and a measured recall."""

import sys

import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.evaluation import Evaluation
from lowzoo.evaluate.knn_protocol import knn_preset, open_train_test, score_knn
from lowzoo.features.approximate import approximate_neighbours, require_faiss
from lowzoo.features.extraction import Extraction
from lowzoo.features.neighbours import nearest_neighbours
from tests.helpers.evaluate import pixel_network, write_pictures

faiss = pytest.importorskip("faiss")


def _clusters(count: int, seed: int, width: int = 24) -> torch.Tensor:
    """Features in heaps, as those of a network lie."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(50, width, generator=torch.Generator().manual_seed(9))
    at = torch.randint(0, 50, (count,), generator=generator)
    return centres[at] + 0.4 * torch.randn(count, width, generator=generator)


def test_nearly_all_exact_neighbours_are_found_and_the_recall_is_that() -> None:
    bank, queries, k = _clusters(6000, 1).half(), _clusters(300, 2), 20
    similarity, nearest, about = approximate_neighbours(bank, queries, k)
    exact, truth = nearest_neighbours(bank, queries, k)
    found = torch.tensor([torch.isin(a, b).double().mean() for a, b in zip(truth, nearest, strict=True)])
    assert found.mean() >= 0.93
    assert about.recall == pytest.approx(float(found.mean()), abs=0.03)
    assert about.probed < about.cells, "the whole bank was searched"
    assert (similarity.diff(dim=1) <= 0).all()
    whole = torch.nn.functional.cosine_similarity(queries[:, None].double(), bank[nearest].double(), dim=-1)
    torch.testing.assert_close(similarity, whole)
    assert (similarity[:, 0] <= exact[:, 0]).all()


def test_a_bank_that_has_no_cells_and_a_whole_bank_of_neighbours_are_exact() -> None:
    bank, queries = _clusters(30, 3), _clusters(5, 4)
    for k in (1, 30):
        similarity, nearest, about = approximate_neighbours(bank, queries, k)
        exact, truth = nearest_neighbours(bank, queries, k)
        assert torch.equal(nearest, truth)
        assert torch.equal(similarity, exact)
        assert about.recall == 1


def test_a_single_query_has_no_say_in_what_it_measures() -> None:
    bank, query = _clusters(6000, 1), _clusters(1, 2)
    _, nearest, about = approximate_neighbours(bank, query, 20)
    assert about.probed == about.cells
    assert about.sample == 1
    assert about.recall == pytest.approx(
        float(torch.isin(nearest_neighbours(bank, query, 20)[1], nearest).double().mean()), abs=1e-4
    )


@pytest.mark.usefixtures("cache")
def test_the_document_says_which_it_was(tmp_path) -> None:
    data = open_train_test(str(write_pictures(tmp_path / "d", {"train": 30, "val": 10})))
    how, preset = Extraction(progress=False), knn_preset("dino")
    exact, found = (
        score_knn(pixel_network(), data, preset=preset, neighbors=which, how=how).result
        for which in ("exact", "approximate")
    )
    assert exact.settings["neighbors"] == "exact"
    assert "approximation" not in exact.settings
    assert found.settings["neighbors"] == "approximate"
    assert 0.9 <= found.settings["approximation"]["recall"] <= 1
    assert found.settings["approximation"]["k"] == 20
    assert any("% of the exact 20 nearest found" in line for line in Evaluation(found).lines())
    assert found.figures[0].mean == pytest.approx(exact.figures[0].mean, abs=5)


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(LowzooError, match=r"faiss. Run: pip install 'lowzoo\[faiss\]'"):
        require_faiss()
