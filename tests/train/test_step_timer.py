"""The time of a run's steps: other work between them does not count, and its bottleneck has a name."""

import time
from pathlib import Path

import pytest
import torch

from lowzoo.data.source import open_source
from lowzoo.train.bench import StepTimer, arithmetic, bottleneck, matmul_peak
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve
from tests.helpers.train import SETTINGS, make_pictures, make_teacher


@pytest.mark.slow
def test_two_runs_are_timed_by_turns(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    source = open_source(str(tmp_path / "pictures"))
    runs = [Run(resolve("rob_dino", settings=settings), source, None, tmp_path / name) for name in ("a", "b")]
    timers = [StepTimer(run) for run in runs]
    for timer in timers:
        timer.step()
        timer.forget()
    own: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        for timer, seconds in zip(timers, own, strict=True):
            # A turn of something else, which belongs to neither run.
            time.sleep(0.5)
            seconds.append(timer.step())
    assert [run.step for run in runs] == [5, 5]
    for timer, run, seconds in zip(timers, runs, own, strict=True):
        report = timer.report()
        assert report["steps"] == 3
        assert report["images_per_s"] == pytest.approx(3 * run.config.batch_size / sum(seconds), rel=1e-3)
        assert report["shares"]["other"] < 0.2


def test_steps_before_forget_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    source = open_source(str(tmp_path / "pictures"))
    run = Run(resolve("rob_dino", settings=settings), source, None, tmp_path / "run")
    timer = StepTimer(run)
    with monkeypatch.context() as slow:
        update = run.updates.apply
        slow.setattr(run.updates, "apply", lambda *words: (time.sleep(1), update(*words)))
        assert timer.step() > 1
    timer.forget()
    seconds = timer.step()
    report = timer.report()
    assert report["images_per_s"] == pytest.approx(run.config.batch_size / seconds, rel=1e-3)
    assert report["shares"]["update"] < 0.9


def test_a_run_that_is_over_has_no_step_to_time(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", count=8)
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=2", "batch_size=8"]
    source = open_source(str(tmp_path / "pictures"))
    timer = StepTimer(Run(resolve("rob_dino", settings=settings), source, None, tmp_path / "run"))
    timer.step()
    with pytest.raises(StopIteration):
        timer.step()


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ({"data wait": 0.4, "teacher": 0.5}, "data"),
        ({"data wait": 0.1, "teacher": 0.5, "backward": 0.3}, "teacher"),
        ({"teacher": 0.4, "student forward": 0.2, "backward": 0.3}, "student"),
        ({"views": 0.6, "backward": 0.3}, "views"),
    ],
)
def test_the_bottleneck_is_named(shares: dict[str, float], name: str) -> None:
    everything = dict.fromkeys(("data wait", "views", "teacher", "student forward", "backward", "update"), 0.0)
    assert bottleneck({**everything, **shares}) == name


@pytest.mark.parametrize("groups", [1, 16])
def test_a_backward_pass_costs_two_forward_passes_also_in_depthwise_layers(groups: int) -> None:
    layer, x = torch.nn.Conv2d(16, 16, 3, groups=groups), torch.randn(2, 16, 8, 8, requires_grad=True)
    with arithmetic() as forward:
        layer(x)
    with arithmetic() as both:
        layer(x).sum().backward()
    # 2 images, 6 x 6 places, 16 outputs of 9 weights for each channel of their group; a product is two operations.
    assert forward.get_total_flops() == 2 * 2 * 36 * 16 * 9 * 16 // groups
    assert both.get_total_flops() == 3 * forward.get_total_flops()


def test_fused_attention_is_counted_in_both_passes() -> None:
    query, key, value = (torch.randn(2, 3, 16, 8, requires_grad=True) for _ in range(3))
    with arithmetic() as forward:
        torch.nn.functional.scaled_dot_product_attention(query, key, value)
    with arithmetic() as both:
        torch.nn.functional.scaled_dot_product_attention(query, key, value).sum().backward()
    # 2 images of 3 heads: two products of 16 x 16 pairs over 8 channels; a product is two operations.
    assert forward.get_total_flops() == 2 * 2 * 2 * 3 * 16 * 16 * 8
    # Two gradients for each of the products, and the first product again, as the pairs are not kept.
    assert both.get_total_flops() == 3.5 * forward.get_total_flops()


def test_the_peak_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("lowzoo.train.bench._synchronised", lambda _: next(ticks))
    assert matmul_peak(torch.device("cpu"), "fp32", size=10, repeats=1) == 2000
