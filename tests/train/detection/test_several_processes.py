"""Detectors in several processes: together where the call says so, and never on different images."""

import json
from pathlib import Path
from typing import Any

import pytest

from lowzoo.base.errors import LowzooError, ToldElsewhere
from lowzoo.detection.predicting import detect_together
from lowzoo.system.processes import joined
from lowzoo.train.distributed import processes as distributed
from tests.helpers.detection import TINY, drawn_set
from tests.helpers.forked_processes import run_to_the_end

pytest.importorskip("faster_coco_eval")


def _detect(data: Path, folder: Path | None, **more: Any) -> Any:
    import lowzoo.evaluate

    words = {"steps": 1, "batch_size": 2, "random_init": True, "device": "cpu", **more}
    return lowzoo.evaluate.detect("test_efficientnet", data=data, folder=folder, settings=list(TINY), **words)


def _differ(one: Path, other: Path, out: Path) -> None:
    rank = joined().rank
    with pytest.raises(LowzooError) as refused:
        _detect((one, other)[rank], out / "run", divide=True)
    assert isinstance(refused.value, ToldElsewhere) == (rank == 1)
    (out / f"{rank}.txt").write_text(str(refused.value))


def test_processes_with_other_images_are_refused_before_they_train(tmp_path: Path) -> None:
    one, other = drawn_set(tmp_path / "one"), drawn_set(tmp_path / "other", train=8)
    run_to_the_end(2, _differ, one, other, tmp_path)
    first, second = (file.read_text() for file in sorted(tmp_path.glob("*.txt")))
    assert first == second
    assert first.startswith("the 2 processes have different training images (6 with digest ")
    assert ", 8 with digest " in first
    assert "test images" not in first
    assert not (tmp_path / "run" / "settings.json").exists()


def _from_python(data: Path, out: Path) -> None:
    import lowzoo.evaluate

    rank = joined().rank
    if rank == 1:  # the other one does not call
        _detect(data, out / "alone")
        lowzoo.evaluate.detect(out / "alone", data=data, device="cpu", out=out / "measured_alone.json")
    joined().wait()  # the group is still there
    found = lowzoo.evaluate.detect(out / "alone", data=data, device="cpu", out=out / f"{rank}.json", divide=True)
    assert len(found.written) == (rank == 0)


@pytest.mark.slow
def test_calls_in_python_work_alone_unless_they_say_otherwise(tmp_path: Path) -> None:
    run_to_the_end(2, _from_python, drawn_set(tmp_path / "set"), tmp_path)
    alone, divided = (json.loads((tmp_path / name).read_text()) for name in ("measured_alone.json", "0.json"))
    assert divided["figures"] == alone["figures"]
    assert not (tmp_path / "1.json").exists()


@pytest.mark.parametrize("more", [{"folder": None}, {"devices": 2}])
def test_processes_that_would_write_over_each_other_are_refused(
    more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(LowzooError, match="each of the 2 processes of this program would train") as refused:
        _detect(tmp_path / "set", **{"folder": tmp_path / "run", **more})
    assert refused.value.remedy.startswith("Say divide=True to train one together")
    assert list(tmp_path.iterdir()) == []


def _fails_in_one(data: Path, out: Path) -> None:
    rank = joined().rank

    def detected(_: Any) -> Any:
        if rank == 1:
            raise LowzooError("a picture is gone", "Bring it back")
        return [], {}

    with pytest.raises(LowzooError, match="a picture is gone") as refused:
        detect_together(joined(), 4, detected)
    (out / f"{rank}.txt").write_text(type(refused.value).__name__)
    # More processes are not started by one that has others already.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "spawn", None)
        with pytest.raises(LowzooError, match=r"there is no .*data"):
            _detect(data, out / "run", divide=True, devices=2)
    (out / f"{rank}.refused").touch()


def test_a_failure_of_one_process_is_raised_in_all(tmp_path: Path) -> None:
    run_to_the_end(2, _fails_in_one, tmp_path / "data", tmp_path)
    assert [file.read_text() for file in sorted(tmp_path.glob("*.txt"))] == ["ToldElsewhere", "LowzooError"]
    assert len(list(tmp_path.glob("*.refused"))) == 2
