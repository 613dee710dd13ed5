"""Two processes with half the batch each learn what one with the whole batch learns, whatever the objective."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from lowzoo.train.distributed.collectives import rank
from lowzoo.train.distributed.shuffle import shuffle_batch
from tests.helpers.processes import run_processes
from tests.train.losses.objective_cases import CASES, STEPS, work

Results = dict[str, dict[str, Any]]


def both(number: int) -> tuple[Results, dict[str, torch.Tensor]]:
    """A process's work, and its images on their way through the shuffle and back."""
    images = torch.arange(4.0).view(4, 1) + 4 * rank()
    shuffled, restore = shuffle_batch(images, seed=3)
    return work(number), {"sent": images, "got": shuffled, "back": restore(10 * shuffled)}


@pytest.fixture(scope="module")
def halves() -> list[tuple[Results, dict[str, torch.Tensor]]]:
    return run_processes(both, 2)


@pytest.fixture(scope="module")
def whole() -> Results:
    return work(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_halves_equal_the_whole(name: str, halves: list[tuple[Results, Any]], whole: Results) -> None:
    one, (first, second) = whole[name], [results[name] for results, _ in halves]
    assert len(one["losses"]) == STEPS
    for step, loss in enumerate(one["losses"]):
        assert_close((first["losses"][step] + second["losses"][step]) / 2, loss)
        assert one["gradients"][step]["student"].any()
        for key, gradient in one["gradients"][step].items():
            parts = [half["gradients"][step][key] for half in (first, second)]
            # The gradient of the mean of both losses: of inputs that each has alone, and of prototypes that both have.
            joined = sum(parts) / 2 if key == "prototypes" else torch.cat(parts, 1) / 2
            assert_close(joined, gradient)
    for half in (first, second):
        assert half["state"].keys() == one["state"].keys()
        for key, value in one["state"].items():
            assert_close(half["state"][key], value)


@pytest.mark.slow
def test_shuffled_images_come_from_everywhere_and_return(halves: list[tuple[Any, dict[str, torch.Tensor]]]) -> None:
    ways = [way for _, way in halves]
    assert sorted(torch.cat([way["got"] for way in ways]).flatten().tolist()) == list(range(8))
    for way in ways:
        assert not torch.equal(way["got"].sort(0).values, way["sent"])
        assert torch.equal(way["back"], 10 * way["sent"])
