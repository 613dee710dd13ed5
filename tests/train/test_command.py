"""Which folder a run goes to, and which one is meant where none is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.train.command import TrainArgs, _run_to_resume, default_layers
from tests.helpers.train import make_pictures


@pytest.mark.slow
def test_a_folder_is_called_after_the_student_that_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_pictures(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    settings = {"batch_size": 4, "workers": 0, "device": "cpu", "monitor_epochs": 0}
    run = lowzoo.train.rob(data, steps=2, settings=settings)
    # Not the recipe's own, which was not seen to learn on so few images.
    assert run.folder == Path("runs/rob-resnet18")
    assert "resnet18" in (run.folder / "config.toml").read_text()


def test_the_only_run_of_a_recipe_is_resumed_and_one_of_several_is_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args = TrainArgs("rob", default_layers("rob", data=None, preset=None), resume=True)
    assert _run_to_resume(args) == Path("runs/rob-vit_tiny")
    for student in ("mobilenetv3_large", "resnet18"):
        folder = tmp_path / "runs" / f"rob-{student}"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("")
        if student == "mobilenetv3_large":
            assert _run_to_resume(args) == Path("runs/rob-mobilenetv3_large")
    with pytest.raises(LowzooError, match="several runs of rob") as refused:
        _run_to_resume(args)
    assert "--out" in refused.value.remedy
    # The recipe's own student is no more meant than the others, as rules may have chosen one of them.
    own = tmp_path / "runs" / "rob-vit_tiny"
    own.mkdir()
    (own / "config.toml").write_text("")
    with pytest.raises(LowzooError, match="runs/rob-mobilenetv3_large, runs/rob-resnet18, runs/rob-vit_tiny"):
        _run_to_resume(args)
    of_a_preset = TrainArgs("rob", default_layers("rob", data="photos", preset="rob_dino"), resume=True)
    assert _run_to_resume(of_a_preset) == Path("runs/rob-vit_tiny")
    named = TrainArgs("rob", (), options={"student": "resnet50"}, resume=True)
    assert _run_to_resume(named) == Path("runs/rob-resnet50")


@pytest.mark.slow
def test_a_run_goes_on_with_the_views_that_it_was_started_with(tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "data")
    settings = {"batch_size": 4, "workers": 0, "device": "cpu", "monitor_epochs": 0}
    words = {"student": "test_resnet", "settings": settings}
    softer = lowzoo.train.rob(data, steps=2, views="sslight", out=tmp_path / "softer", **words)
    assert "alpha = 1" in (softer.folder / "config.toml").read_text()
    further = lowzoo.train.rob(data, steps=4, views="sslight", out=tmp_path / "softer", resume=True, **words)
    assert further.steps == 4
    lowzoo.train.rob(data, steps=2, out=tmp_path / "plain", **words)
    with pytest.raises(LowzooError, match="was started without the views of sslight"):
        lowzoo.train.rob(data, steps=4, views="sslight", out=tmp_path / "plain", resume=True, **words)


def _set(folder: Path, names: tuple[str, ...]) -> Path:
    """Eight different pictures under each of the names."""
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            picture = np.random.default_rng(100 * place + number).integers(0, 256, (40, 40, 3), np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("cats",), "all training images are of one class"),
        (("train/a", "train/b", "val"), "validation has no labels"),
        (("train/cat", "train/dog", "val/Cat", "val/Dog"), "is of a class that the training images have"),
        (("train", "val"), "it needs labels"),
    ],
)
def test_held_out_images_that_cannot_be_classified_leave_the_other_monitors(
    tmp_path: Path, names: tuple[str, ...], why: str
) -> None:
    said: list[str] = []
    run = lowzoo.train.sslight(
        _set(tmp_path / "set", names),
        student="test_resnet",
        steps=2,
        out=tmp_path / "run",
        settings={"batch_size": 4, "workers": 0, "device": "cpu"},
        progress=said.append,
    )
    assert any(line.startswith("No k-NN monitor: ") and why in line for line in said)
    assert run.knn_after is None
    assert "views that find their own image" in run.verdict


TINY = {"batch_size": 4, "workers": 0, "device": "cpu", "monitor_epochs": 0}


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path) -> None:
    data, out, refused = make_pictures(tmp_path / "data"), tmp_path / "run", list[LowzooError]()

    def begin_another(line: str) -> None:
        if line.startswith("Prototypes of") and not refused:
            with pytest.raises(LowzooError, match="another command is writing into") as found:
                lowzoo.train.sslight(data, student="test_resnet", steps=1, out=out, settings=TINY)
            refused.append(found.value)

    run = lowzoo.train.rob(data, student="test_resnet", steps=1, out=out, settings=TINY, progress=begin_another)
    assert (run.steps, len(refused)) == (1, 1)
    again = lowzoo.train.rob(data, steps=2, out=out, resume=True, student="test_resnet", settings=TINY)
    assert again.steps == 2


def test_a_run_goes_on_by_its_own_recipe(tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "data")
    lowzoo.train.sslight(data, student="test_resnet", steps=1, out=tmp_path / "run", settings=TINY)
    for recipe in (lowzoo.train.rob, lowzoo.train.seed):
        with pytest.raises(LowzooError, match=r"the run in .* is one of recipe sslight") as refused:
            recipe(data, steps=2, out=tmp_path / "run", resume=True)
        assert "lowzoo train sslight --resume" in refused.value.remedy
    for more in ({}, {"preset": "rob_dino"}):
        with pytest.raises(LowzooError, match="the configuration is one of recipe sslight"):
            lowzoo.train.rob(data, config=tmp_path / "run" / "config.toml", out=tmp_path / "other", **more)


def test_steps_that_were_only_timed_are_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_pictures(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    run = lowzoo.train.sslight(data, student="test_resnet", steps=1, out="run", settings=TINY)
    timed = lowzoo.train.sslight(data, student="test_resnet", steps=8, out="run", settings=TINY, bench=True)
    assert timed.steps == 0
    assert timed.lines() == ["sslight: timed, see run/bench.json"]
    with pytest.raises(LowzooError, match="steps were only timed"):
        timed.model()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.model() is not None


@pytest.mark.parametrize("words", [{"data": ""}, {"data": " "}, {"out": ""}, {"teacher_cache": ""}, {"config": ""}])
def test_an_empty_word_is_not_the_current_folder(tmp_path: Path, words: dict[str, str]) -> None:
    given = {"data": make_pictures(tmp_path / "data"), "out": tmp_path / "run", "settings": TINY, "steps": 1} | words
    with pytest.raises(LowzooError, match="is empty"):
        lowzoo.train.rob(**given)
