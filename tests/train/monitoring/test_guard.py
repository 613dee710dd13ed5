"""The guard stops what has collapsed or diverged, and nothing else."""

import math

import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.train.monitoring.guard import Guard, effective_rank, patience_of


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(LowzooError, match=f"the loss became {value} at step 7") as caught:
            Guard(16).loss(value, 7)
        assert "learning rate" in caught.value.remedy


def test_a_loss_that_stands_at_ln_k_stops_the_run() -> None:
    guard = Guard(4096, patience=5)
    # A run starts near ln K; that alone is no collapse.
    for step in range(20):
        guard.loss(math.log(4096), step)
    guard.loss(8.1, 20)
    for step in range(4):
        guard.loss(8.3178, step)
    with pytest.raises(LowzooError, match=r"collapsed: the loss stands at ln K = 8\.3178"):
        guard.loss(8.3178, 25)


def test_a_loss_that_passes_through_ln_k_does_not() -> None:
    guard = Guard(1024, patience=5)
    for step in range(100):
        guard.loss(math.log(1024) + 0.5 * math.sin(step), step)
    # The same guard is awake: a loss that stands there does.
    for step in range(100, 104):
        guard.loss(math.log(1024), step)
    with pytest.raises(LowzooError, match="collapsed"):
        guard.loss(math.log(1024), 104)


@pytest.mark.parametrize(("logged", "patience"), [(0, 20), (78, 20), (120, 30), (800, 200), (100_000, 200)])
def test_a_short_run_is_ended_before_it_is_over(logged: int, patience: int) -> None:
    assert patience_of(logged) == patience


def test_effective_rank_counts_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 16, generator=generator)
    assert effective_rank(features) == pytest.approx(16, abs=0.2)
    features[:, 4:] = 0
    assert effective_rank(features) == pytest.approx(4, abs=0.1)
    assert effective_rank(torch.ones(50, 16) + 1e-7 * torch.randn(50, 16, generator=generator)) == 1.0


def test_equal_features_stop_the_run() -> None:
    with pytest.raises(LowzooError, match="features of different images are the same at step 3"):
        Guard(0).features(torch.ones(30, 8), 3, 30)
    assert Guard(0).features(torch.eye(8), 3, 8) > 5


@pytest.mark.parametrize("sharpness", ["", "epsilon"])
def test_the_remedy_names_what_the_recipe_has(sharpness: str) -> None:
    with pytest.raises(LowzooError) as caught:
        Guard(0, sharpness).features(torch.ones(30, 8), 3, 30)
    assert ("--set epsilon=..." in str(caught.value)) == bool(sharpness)
    assert "--set lr=..." in str(caught.value)
    assert "temperature" not in str(caught.value)


def test_two_images_that_differ_are_no_collapse() -> None:
    two = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])
    assert Guard(0).features(two, 3, 2) == pytest.approx(1, abs=1e-4)
    copies = two[torch.arange(30) % 2]
    assert Guard(0).features(copies, 3, 2) == pytest.approx(1, abs=1e-4)
    near = torch.cat([two, two[:1] + 1e-4])
    assert Guard(0).features(near, 3, 3) < 1.05, "of a few pictures most may be nearly alike"
    with pytest.raises(LowzooError, match="collapsed"):
        Guard(0).features(torch.ones(3, 8), 3, 3)
    with pytest.raises(LowzooError, match="collapsed"):
        Guard(0).features(copies, 3, 30)
