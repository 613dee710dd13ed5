"""`--bench`: its parts add up, its bottleneck has a name, and nothing of the run remains."""

import json
from pathlib import Path

import pytest
import torch

from lowzoo.data.source import open_source
from lowzoo.errors import LowzooError
from lowzoo.train.bench import StepTimer, arithmetic, bottleneck, describe, matmul_peak, run_bench
from lowzoo.train.command import TrainWords
from lowzoo.train.config import resolve
from lowzoo.train.loop import Run
from tests.train_fixtures import SETTINGS, make_pictures, make_teacher


def test_a_bench_measures_and_leaves_only_its_report(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    words = TrainWords("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
    said: list[str] = []
    report = run_bench(words, said.append)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bench.json"]
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == report
    assert sum(report["shares"].values()) == pytest.approx(1, abs=0.02)
    assert report["images_per_s"] > 0
    assert report["loader_images_per_s"] > 0
    assert 0 < report["flop_utilisation"] < 1.5
    assert report["gflop_per_image"] > 0
    assert report["bottleneck"] in said[-2]


def test_two_runs_are_timed_by_turns(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    source = open_source(str(tmp_path / "pictures"))
    runs = [Run(resolve("rob_dino", settings=settings), source, None, tmp_path / name) for name in ("a", "b")]
    timers = [StepTimer(run) for run in runs]
    for timer in timers:
        timer.step()
        timer.forget()
    seconds = [[timer.step() for timer in timers] for _ in range(3)]
    assert [run.step for run in runs] == [5, 5]
    for timer, run, own in zip(timers, runs, zip(*seconds, strict=True), strict=True):
        report = timer.report()
        assert report["steps"] == 3
        assert report["images_per_s"] == pytest.approx(3 * run.config.batch_size / sum(own), rel=1e-3)
        assert sum(report["shares"].values()) == pytest.approx(1, abs=0.02)


def test_a_run_too_short_to_be_timed_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", count=8)
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=2", "batch_size=8"]
    words = TrainWords("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
    with pytest.raises(LowzooError, match="a run of 2 steps is too short"):
        run_bench(words, print)
    assert not (tmp_path / "out").exists()


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


def test_the_peak_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("lowzoo.train.bench._synchronised", lambda _: next(ticks))
    assert matmul_peak(torch.device("cpu"), "fp32", size=10, repeats=1) == 2000


def test_a_report_without_memory_says_so() -> None:
    report = {
        "images_per_s": 10.0,
        "images_per_s_per_device": 10.0,
        "devices": 1,
        "device": "cpu, 1 threads",
        "precision": "fp32",
        "shares": {"data wait": 1.0},
        "loader_images_per_s": 10.0,
        "gflop_per_image": 1.0,
        "flop_utilisation": 0.5,
        "matmul_peak_gflops": 20.0,
        "peak_memory_mb": None,
        "bottleneck": "data",
    }
    assert "peak memory not known" in describe(report)[-2]
