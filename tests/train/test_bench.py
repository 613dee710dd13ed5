"""`--bench`: its parts add up, its bottleneck has a name, and nothing of the run remains."""

import json
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.train.bench import describe, run_bench
from lowzoo.train.command import TrainArgs
from tests.helpers.train import SETTINGS, make_pictures, make_teacher


def test_a_bench_measures_and_leaves_only_its_report(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    words = TrainArgs("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
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


def test_a_run_too_short_to_be_timed_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", count=8)
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=2", "batch_size=8"]
    words = TrainArgs("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
    with pytest.raises(LowzooError, match="a run of 2 steps is too short"):
        run_bench(words, print)
    assert not (tmp_path / "out").exists()


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
