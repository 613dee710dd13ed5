"""The monitors that need no labels, and what a run says of itself at its end."""

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from lowzoo.data.source import open_set
from lowzoo.train.monitoring.label_free import LabelFreeMonitor, mean_reciprocal_rank, rankme
from lowzoo.train.monitoring.verdict import verdict

CPU = torch.device("cpu")


def test_the_rank_of_the_own_view() -> None:
    eye = torch.eye(8)
    assert mean_reciprocal_rank(eye, eye) == 1
    assert mean_reciprocal_rank(eye, eye.roll(1, 0)) < 0.5
    # Features that are all alike find nothing: a tie with everybody is the last rank.
    assert mean_reciprocal_rank(torch.ones(8, 3), torch.ones(8, 3)) == pytest.approx(1 / 8)


def test_rankme_counts_the_dimensions_in_use() -> None:
    features = torch.linalg.qr(torch.randn(64, 16))[0]
    assert rankme(features) == pytest.approx(16, abs=0.01)
    assert rankme(features[:, :1] @ torch.randn(1, 16)) == pytest.approx(1, abs=0.01)


class _Colours(nn.Module):
    """The mean colours of the quarters of an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


class _Blind(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(x), 12)


def test_a_network_that_sees_is_told_from_one_that_does_not() -> None:
    monitor = LabelFreeMonitor(open_set(None).open("validation"), 32, limit=64)
    assert len(monitor) == 64
    monitor.follow(_Colours(), 32, CPU, nullcontext)
    seeing, features = monitor.measure(_Colours(), CPU, nullcontext)
    blind, _ = monitor.measure(_Blind(), CPU, nullcontext)
    assert seeing["teacher_neighbours"] == 100
    assert blind["teacher_neighbours"] < 40
    assert seeing["own_view"] > 20 > 5 > blind["own_view"]
    assert seeing["rankme"] > 2 > 1.1 > blind["rankme"]
    assert features.shape == (64, 12)
    assert monitor.measure(_Colours(), CPU, nullcontext)[0] == seeing


def test_a_teacher_that_sees_images_larger_gets_fewer_at_once() -> None:
    monitor = LabelFreeMonitor(open_set(None).open("validation"), 32, limit=24)
    seen = []
    teacher = _Colours()
    teacher.register_forward_hook(lambda _, __, out: seen.append(len(out)))
    monitor.follow(teacher, 224, CPU, nullcontext)
    assert seen == [10, 10, 4]


def test_a_set_of_few_images_is_measured_too(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    monitor = LabelFreeMonitor(open_set(str(tmp_path)).open("train"), 32)
    monitor.follow(_Colours(), 32, CPU, nullcontext)
    assert monitor.measure(_Colours(), CPU, nullcontext)[0]["teacher_neighbours"] == 100


@pytest.mark.parametrize(
    ("after", "better", "words"),
    [
        (40.0, True, "Better than at the start"),
        (26.0, None, "No clear change"),
        (12.0, False, "Worse than at the start"),
    ],
)
def test_the_verdict_knows_its_sampling_error(after: float, better: bool | None, words: str) -> None:
    rows = [{"step": 0, "knn": 25.0, "own_view": 1.0}, {"step": 5, "loss": 1.0}, {"step": 9, "knn": after}]
    found = verdict(rows, {"knn": 400, "own_view": 400})
    assert found is not None
    assert found.better is better
    assert found.error == pytest.approx(100 * math.sqrt(after / 100 * (1 - after / 100) / 400), rel=0.02)
    assert str(found).startswith(f"{words}: k-NN top-1 on held-out images (k = 20) 25.0 -> {after:.1f} %")
    assert bool(found.remedy) is not bool(better)


def test_without_labels_the_teachers_neighbours_tell_and_without_a_teacher_the_views() -> None:
    rows = [{"teacher_neighbours": 10.0, "own_view": 50.0}, {"teacher_neighbours": 60.0, "own_view": 20.0}]
    images = {"teacher_neighbours": 300, "own_view": 300}
    found = verdict(rows, images)
    assert found is not None
    assert (found.measure, found.better) == ("teacher_neighbours", True)
    alone = verdict([{"own_view": row["own_view"]} for row in rows], images)
    assert alone is not None
    assert (alone.measure, alone.better) == ("own_view", False)
    assert verdict(rows[:1], images) is None


def test_a_perfect_figure_over_few_images_is_not_taken_for_certain() -> None:
    found = verdict([{"own_view": 90.0}, {"own_view": 100.0}], {"own_view": 4})
    assert found is not None
    assert found.better is None
