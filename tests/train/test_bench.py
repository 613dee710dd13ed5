"""`--bench`: its parts add up, its bottleneck has a name, and nothing of the run remains."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.system.processes import joined
from lowzoo.train.bench import describe, run_bench
from lowzoo.train.command import TrainArgs
from tests.helpers.forked_processes import run_to_the_end
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


def _bench(words: TrainArgs, folder: Path) -> None:
    said: list[str] = []
    report = run_bench(words, said.append)
    (folder / f"{joined().rank}.json").write_text(json.dumps([bool(report), bool(said)]))


@pytest.mark.slow
def test_of_several_processes_the_first_one_speaks_and_writes(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    words = TrainArgs("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
    run_to_the_end(2, _bench, words, tmp_path)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [[True, True], [False, False]]
    assert json.loads((tmp_path / "out" / "bench.json").read_text())["devices"] == 2


def test_another_process_leaves_the_report_to_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowzoo.train.bench._timed", lambda *_: {"images_per_s": 1.0})
    monkeypatch.setattr("lowzoo.train.bench.describe", lambda _: ["a line"])
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}"]
    words = TrainArgs("rob", ("rob_dino",), None, settings=settings, out=tmp_path / "out")
    said: list[str] = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert bool(run_bench(words, said.append)) == bool(said) == (tmp_path / "out").exists() == (rank == "0")


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
    assert "decode=cpu" not in describe({**report, "bottleneck": "views"})[-1]
    lines = describe({**report, "bottleneck": "views", "decoded_by_cpu": 0.25})
    assert "decode=cpu" in lines[-2]
    assert lines[-1].startswith("The CPU decoded 25 % of the images: other formats, more than 64 megapixels")


def test_a_teacher_cache_and_a_decoding_device_are_refused_before_anything_is_timed(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    words = {"settings": settings, "out": tmp_path / "out", "teacher_cache": tmp_path / "cache"}
    said: list[str] = []
    with pytest.raises(LowzooError, match="a teacher cache keeps what the teacher says of pictures that the CPU"):
        run_bench(
            TrainArgs("rob", ("rob_dino",), str(tmp_path / "pictures"), **words),  # type: ignore[arg-type]
            said.append,
            ("decode=device",),
        )
    assert not [line for line in said if "teacher cache" in line]
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_settings_are_compared_in_one_call(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    words = TrainArgs("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
    said: list[str] = []
    report = run_bench(words, said.append, ("channels_last=false fused=false", "drop_path=0.2"))
    assert [row["settings"] for row in report["compared"]] == ["channels_last=false fused=false", "drop_path=0.2"]
    for row in report["compared"]:
        assert row["times_as_fast"] == pytest.approx(row["images_per_s"] / report["images_per_s"], abs=1e-3)
        assert row["peak_memory_mb"] is None
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == report
    assert sum("times as fast" in line for line in said) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ahead=true", "ahead=true is for a CUDA GPU"),
        ("nonsense=1", "unknown configuration key 'nonsense'"),
        ("fused=true", "is what the run has already"),
        ("compile=max-autotune accumulate=2", "CUDA graphs, which no batch in parts can do"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_timed(words: str, reason: str, tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures")
    settings = [*SETTINGS, f"teacher={make_teacher(tmp_path / 'teacher')}", "epochs=3"]
    args = TrainArgs("rob", ("rob_dino",), str(tmp_path / "pictures"), settings=settings, out=tmp_path / "out")
    with pytest.raises(LowzooError, match=reason):
        run_bench(args, print, (words,))
    assert not (tmp_path / "out").exists()


def test_what_a_bench_cannot_do_is_refused(tmp_path: Path) -> None:
    words = TrainArgs("rob", ("rob_dino",), str(make_pictures(tmp_path)), settings=SETTINGS, out=tmp_path / "out")
    with pytest.raises(LowzooError, match="times a run from its start") as caught:
        run_bench(replace(words, resume=True), print)
    assert "--resume" in caught.value.remedy
    with pytest.raises(LowzooError, match="does not start 2 processes") as caught:
        run_bench(replace(words, devices=2), print)
    assert "torchrun --nproc-per-node 2" in caught.value.remedy
    assert not (tmp_path / "out").exists()
