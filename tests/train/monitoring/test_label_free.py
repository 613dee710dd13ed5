"""The monitors that need no labels, and what a run says of itself at its end."""

import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from lowzoo.data.source import open_set
from lowzoo.train.monitoring.label_free import (
    LabelFreeMonitor,
    _figure,
    _neighbours,
    _overlaps,
    rankme,
    reciprocal_ranks,
)
from lowzoo.train.monitoring.verdict import verdict

CPU = torch.device("cpu")


def test_the_rank_of_the_own_view() -> None:
    eye = torch.eye(8)
    assert float(reciprocal_ranks(eye, eye).mean()) == 1
    assert float(reciprocal_ranks(eye, eye.roll(1, 0)).mean()) < 0.5
    # Features that are all alike find nothing: a tie with everybody is the last rank.
    assert float(reciprocal_ranks(torch.ones(8, 3), torch.ones(8, 3)).mean()) == pytest.approx(1 / 8)


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


def test_a_single_image_has_no_neighbours() -> None:
    monitor = LabelFreeMonitor(open_set(None).open("validation"), 32, limit=1)
    monitor.follow(_Colours(), 32, CPU, nullcontext)
    figures, _ = monitor.measure(_Colours(), CPU, nullcontext)
    assert "teacher_neighbours" not in figures


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
        (36.0, True, "Better than at the start"),
        (33.0, None, "No clear change"),
        (26.0, None, "No clear change"),
        (12.0, False, "Worse than at the start"),
    ],
)
def test_the_verdict_knows_its_sampling_error(after: float, better: bool | None, words: str) -> None:
    rows = [{"step": 0, "knn": 25.0, "own_view": 1.0}, {"step": 5, "loss": 1.0}, {"step": 9, "knn": after}]
    found = verdict(rows, {"knn": 400, "own_view": 400}, 9)
    assert found is not None
    assert found.better is better
    both = (knn / 100 * (1 - knn / 100) / 400 for knn in (25.0, after))
    assert found.error == pytest.approx(100 * math.sqrt(sum(both)), rel=0.02)
    assert str(found).startswith(f"{words}: k-NN top-1 on held-out images (k = 20) 25.0 -> {after:.1f} %")
    assert bool(found.remedy) is not bool(better)


def test_without_labels_the_teachers_neighbours_tell_and_without_a_teacher_the_views() -> None:
    rows: list[dict[str, float]] = [
        {"step": 0, "teacher_neighbours": 10.0, "own_view": 50.0},
        {"step": 7, "teacher_neighbours": 60.0, "own_view": 20.0},
    ]
    images = {"teacher_neighbours": 300, "own_view": 300}
    found = verdict(rows, images, 7)
    assert found is not None
    assert (found.measure, found.better) == ("teacher_neighbours", True)
    alone = verdict([{"step": row["step"], "own_view": row["own_view"]} for row in rows], images, 7)
    assert alone is not None
    assert (alone.measure, alone.better) == ("own_view", False)
    assert verdict(rows[:1], images, 7) is None
    assert verdict(rows[1:], images, 7) is None
    assert verdict(rows, images, 9) is None, "the end was not measured"
    assert verdict(rows[:1], images, 0) is None


@pytest.mark.parametrize("taught", [False, True])
def test_a_teacher_is_no_remedy_for_who_has_one(taught: bool) -> None:
    rows = [{"step": 0, "knn": 50.0}, {"step": 8, "knn": 10.0}]
    found = verdict(rows, {"knn": 400}, 8, taught=taught)
    assert found is not None
    assert ("lowzoo train rob" in found.remedy) is not taught
    assert "--resume" in found.remedy


def test_a_perfect_figure_over_few_images_is_not_taken_for_certain() -> None:
    rows = [{"step": 0, "own_view": 90.0}, {"step": 2, "own_view": 100.0, "own_view_error": 0.0}]
    found = verdict(rows, {"own_view": 4}, 2)
    assert found is not None
    assert found.better is None


def test_k_nn_on_other_images_than_at_the_start_is_no_verdict() -> None:
    rows = [{"step": 0, "knn": 5.0, "own_view": 10.0}, {"step": 8, "knn": 50.0, "own_view": 20.0}]
    images = {"knn": 100, "own_view": 100}
    for changed, measure in (((), "knn"), (("lr",), "knn"), (("monitor_queries",), "own_view")):
        found = verdict(rows, images, 8, changed=changed, k=7)
        assert found is not None
        assert found.measure == measure
        assert ("(k = 7)" in str(found)) == (measure == "knn")


def test_the_error_of_a_mean_over_neighbours_is_that_of_its_images() -> None:
    rows = [
        {"step": 0, "teacher_neighbours": 55.0, "teacher_neighbours_error": 0.8},
        {"step": 8, "teacher_neighbours": 60.0, "teacher_neighbours_error": 0.75},
    ]
    found = verdict(rows, {"teacher_neighbours": 400}, 8)
    assert found is not None
    assert (found.error, found.better) == (pytest.approx(math.hypot(0.8, 0.75)), True)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(400, generator=generator).double()
    figures = _figure("own_view", values)
    assert figures["own_view_error"] == pytest.approx(100 * 12**-0.5 / 20, rel=0.1)


def test_ties_are_no_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(40, 16, generator=generator) for _ in range(2))
    assert float(_overlaps(_neighbours(ours), _neighbours(ours)).mean()) == 1
    same = torch.ones(40, 16)
    assert float(_overlaps(_neighbours(same), _neighbours(same)).mean()) == 0
    assert float(_overlaps(_neighbours(ours), _neighbours(theirs)).mean()) < 0.5


def test_one_image_of_each_picture_is_looked_at(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    for number in range(60):
        picture = np.random.default_rng(number % 20).integers(0, 256, (40, 40, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), picture)
    monitor = LabelFreeMonitor(open_set(str(tmp_path)).open("train"), 32)
    assert len(monitor) == monitor.different == 20
    figures, features = monitor.measure(_Colours(), CPU, nullcontext)
    assert len(features) == 20
    assert figures["own_view_error"] > 0
