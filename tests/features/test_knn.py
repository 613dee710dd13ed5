"""k-NN votes against hand-computed cases and a naive loop."""

import math

import numpy as np
import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.features.votes import knn_accuracy, knn_predictions, nearest_neighbours

# Unit vectors in the plane by their angle in degrees; the query lies at 0, so similarity is the cosine of the angle.
QUERY = torch.tensor([[3.0, 0.0]])


def at(*degrees):
    angles = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[2.0]])


def naive(bank, labels, query, k, temperature):
    similarity = [float(b @ query / (b.norm() * query.norm())) for b in bank]
    nearest = sorted(range(len(bank)), key=lambda i: -similarity[i])[:k]
    votes = {}
    for i in nearest:
        votes[int(labels[i])] = votes.get(int(labels[i]), 0.0) + math.exp(similarity[i] / temperature)
    return min(votes, key=lambda label: (-votes[label], label))


def test_the_nearest_outvotes_two_far_ones_only_at_a_low_temperature():
    bank, labels = at(0.0, 60.0, 60.5), torch.tensor([1, 0, 0])
    # At T = 0.07 the votes are 1 against 2 * exp(-0.5 / 0.07) = 0.0016; at T = 10 they are 1 against 1.9.
    assert knn_predictions(bank, labels, QUERY, ks=[3])[3].tolist() == [1]
    assert knn_predictions(bank, labels, QUERY, ks=[3], temperature=10)[3].tolist() == [0]


def test_the_break_even_temperature():
    # 1 = 2 exp(-0.5 / T) at T = 0.5 / ln 2.
    bank, labels = at(0.0, 60.0, -60.0), torch.tensor([1, 0, 0])
    limit = 0.5 / math.log(2)
    assert knn_predictions(bank, labels, QUERY, ks=[3], temperature=0.99 * limit)[3].tolist() == [1]
    assert knn_predictions(bank, labels, QUERY, ks=[3], temperature=1.01 * limit)[3].tolist() == [0]


def test_equal_votes_go_to_the_lower_class():
    bank, labels = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([5, 3])
    assert knn_predictions(bank, labels, QUERY, ks=[2])[2].tolist() == [3]


def test_length_of_features_does_not_matter():
    bank, labels = torch.tensor([[100.0, 100.0], [0.01, 0.0]]), torch.tensor([0, 1])
    assert knn_predictions(bank, labels, QUERY, ks=[1])[1].tolist() == [1]


def test_a_tiny_temperature_does_not_overflow():
    bank, labels = at(0.0, 10.0, 10.0), torch.tensor([1, 0, 0])
    assert knn_predictions(bank, labels, QUERY, ks=[3], temperature=1e-4)[3].tolist() == [1]


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_every_k_equals_a_naive_loop(temperature):
    generator = torch.Generator().manual_seed(1)
    bank, queries = torch.randn(60, 5, generator=generator), torch.randn(23, 5, generator=generator)
    labels = torch.randint(0, 7, (60,), generator=generator)
    ks = (1, 4, 20, 60)
    found = knn_predictions(bank, labels, queries, ks=ks, temperature=temperature, chunk=5)
    for k in ks:
        assert found[k].tolist() == [naive(bank, labels, query, k, temperature) for query in queries]


def test_accuracy_in_per_cent():
    bank, labels = at(0.0, 90.0), torch.tensor([0, 1])
    queries, truth = at(10.0, 20.0, 80.0, 30.0), torch.tensor([0, 0, 1, 1])
    assert knn_accuracy(bank, labels, queries, truth, ks=[1, 2]) == {1: 75.0, 2: 75.0}


def test_neighbours_fall_and_do_not_depend_on_the_chunk():
    generator = torch.Generator().manual_seed(2)
    bank, queries = torch.randn(40, 8, generator=generator), torch.randn(11, 8, generator=generator)
    similarity, nearest = nearest_neighbours(bank, queries, 6, chunk=4)
    assert similarity.shape == nearest.shape == (11, 6)
    assert (similarity.diff(dim=1) <= 0).all()
    whole = torch.nn.functional.cosine_similarity(queries[:, None].double(), bank[None].double(), dim=-1)
    torch.testing.assert_close(whole.gather(1, nearest), similarity)
    assert torch.equal(nearest, nearest_neighbours(bank, queries, 6)[1])


def test_neighbours_depend_neither_on_the_blocks_nor_on_the_number_of_devices():
    generator = torch.Generator().manual_seed(3)
    bank, queries = torch.randn(300, 6, generator=generator), torch.randn(41, 6, generator=generator)
    # The same picture several times over: of equally near features the first in the bank comes first.
    bank[[17, 140, 299]] = bank[5].clone()
    bank = bank.half()
    whole = nearest_neighbours(bank, queries, 20, block=300)
    order = (torch.nn.functional.normalize(queries.double()) @ torch.nn.functional.normalize(bank.double()).T).sort(
        dim=1, descending=True, stable=True
    )
    assert torch.equal(whole[1], order.indices[:, :20])
    for settings in ({"block": 7}, {"block": 64, "chunk": 3}, {"devices": ["cpu", "cpu", "cpu"], "block": 100}):
        values, indices = nearest_neighbours(bank, queries, 20, **settings)
        assert torch.equal(indices, whole[1])
        assert torch.equal(values, whole[0])


def test_predictions_equal_those_of_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    generator = torch.Generator().manual_seed(4)
    centres = torch.randn(9, 16, generator=generator)
    labels, truth = torch.randint(0, 9, (700,), generator=generator), torch.randint(0, 9, (300,), generator=generator)
    bank = centres[labels] + 2 * torch.randn(700, 16, generator=generator)
    queries = centres[truth] + 2 * torch.randn(300, 16, generator=generator)
    for k, temperature in ((1, 0.07), (20, 0.07), (200, 0.1)):
        brute = neighbors.KNeighborsClassifier(
            k, algorithm="brute", metric="cosine", weights=lambda d, t=temperature: np.exp((1 - d) / t)
        )
        expected = brute.fit(bank.double().numpy(), labels.numpy()).predict(queries.double().numpy())
        found = knn_predictions(bank, labels, queries, ks=[k], temperature=temperature)[k]
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("ks", [[0], [3], [1, 3], [-1]])
def test_impossible_k(ks):
    with pytest.raises(LowzooError, match=r"among 2. Choose k between 1 and 2"):
        knn_predictions(at(0.0, 1.0), torch.tensor([0, 1]), QUERY, ks=ks)


def test_votes_count_classes_and_not_their_ids():
    bank, labels = torch.eye(4), torch.tensor([5_000_000, 3, 5_000_000, 4_999_999])
    found = knn_predictions(bank, labels, bank, ks=[1])[1]
    assert found.tolist() == labels.tolist()
