"""A detector's run: it learns, resumes to the bit, divides over processes, and says what it refuses."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import lowzoo.evaluate
from lowzoo.base.errors import LowzooError
from lowzoo.cli.main import main
from lowzoo.detection.folder import load_detector
from lowzoo.train.detection.loop import DetectorRun
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.settings.length import Length, Segment
from lowzoo.zoo.resolve import load_model
from tests.helpers.detection import TINY, drawn_set
from tests.helpers.slow import slow_but

pytest.importorskip("faster_coco_eval")

MODEL = "test_efficientnet"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return drawn_set(tmp_path_factory.mktemp("set"))


def _segment(data, folder, *settings, model=MODEL, task="segment", **more):
    words = {"steps": 4, "batch_size": 2, "random_init": True, "device": "cpu", **more}
    function = getattr(lowzoo.evaluate, task)
    return function(model, data=data, folder=folder, settings=[*TINY, "checkpoint_steps=2", *settings], **words)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "detector.safetensors")


def _losses(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_metrics(folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, _segment(data, folder)


def test_a_run_leaves_a_detector_its_score_and_its_pictures(whole):
    folder, found = whole
    assert found.result.protocol == "segment"
    assert [figure.metric for figure in found.figures][:3] == ["mask AP", "mask AP50", "mask AP75"]
    assert {figure.unit for figure in found.figures} == {"AP", "AR"}
    assert "box AP" in {figure.metric for figure in found.figures}
    assert found.result.data["train"].images == 6
    assert found.result.settings["images_trained_on"] == 6
    assert json.loads((folder / "evaluation.json").read_text())["protocol"] == "segment"
    with Image.open(folder / "detections.png") as picture:
        assert min(picture.size) > 300
    assert (folder / "curves.png").is_file()
    trained = load_detector(folder)
    assert trained.class_names == ("disc", "square")
    assert trained.detector.masks
    assert not trained.detector.training
    assert "AP" in str(found)
    metric = found.result.metrics("a script")[0]
    assert (metric.task, metric.unit, metric.source) == ("mask AP", "AP", "measured here")


def test_the_folder_is_measured_to_the_same_figures(data, whole, tmp_path):
    folder, found = whole
    places = {"picture": tmp_path / "p.png", "out": tmp_path / "o.json"}
    again = lowzoo.evaluate.segment(folder, data=data, device="cpu", **places)
    assert again.figures == found.figures
    assert (tmp_path / "p.png").is_file()


def test_a_trained_detector_is_measured_on_all_of_a_file_and_says_what_it_has_seen(data, whole):
    lines: list[str] = []
    file = data / "annotations" / "instances_val.json"
    found = lowzoo.evaluate.detect(whole[0], data=file, device="cpu", progress=lines.append)
    assert found.result.data["test"].images == 4
    assert not any("trained on" in line for line in lines)
    seen = data / "annotations" / "instances_train.json"
    found = lowzoo.evaluate.detect(whole[0], data=seen, device="cpu", progress=lines.append)
    assert found.result.data["test"].images == 6
    assert any("trained on these very images" in line for line in lines)
    assert any("trained on these very images" in note for note in found.result.data["test"].notes)


def test_a_trained_detector_is_measured_on_what_was_held_out_of_its_file(data, tmp_path):
    file, lines = data / "annotations" / "instances_train.json", list[str]()
    trained = _segment(file, tmp_path / "run", task="detect", steps=1)
    again = lowzoo.evaluate.detect(tmp_path / "run", data=file, device="cpu", progress=lines.append)
    assert again.figures == trained.figures
    assert any("trained on four fifths of the 6 images" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ({"steps": 3}, "--steps"),
        ({"settings": ["clip=1"]}, "--set"),
        ({"batch_size": 4}, "--batch-size"),
        ({"accumulate": 2}, "--accumulate"),
        ({"learning_rate": 0.1}, "--learning-rate"),
        ({"random_init": True}, "--random-init"),
        ({"seed": 1}, "--seed"),
        ({"attention": "window"}, "--attention"),
        ({"devices": 2}, "--devices"),
        ({"workers": 1}, "--workers"),
        ({"folder": "x"}, "--folder"),
        ({"train_annotations": "x"}, "--train-annotations"),
        ({"resume": True}, "--resume"),
        ({"preset": "own"}, "--preset"),
    ],
)
def test_an_option_without_effect_on_a_trained_detector_is_refused(data, whole, words, flag):
    with pytest.raises(LowzooError, match=f"trained already, so {flag} would have no effect"):
        lowzoo.evaluate.segment(whole[0], data=data, **words)


def test_a_run_that_broke_off_resumes_to_the_same_bits(data, whole, tmp_path, monkeypatch):
    step = DetectorRun._one_step

    def breaks(self, *arguments):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(DetectorRun, "_one_step", breaks)
    with pytest.raises(KeyboardInterrupt):
        _segment(data, tmp_path / "run")
    monkeypatch.setattr(DetectorRun, "_one_step", step)
    _segment(data, tmp_path / "run", resume=True)
    wanted = _weights(whole[0])
    assert all(torch.equal(value, wanted[name]) for name, value in _weights(tmp_path / "run").items())
    assert _losses(tmp_path / "run") == _losses(whole[0])


def test_another_run_is_not_resumed(data, whole):
    with pytest.raises(LowzooError, match=r"learning_rate was 0\.001, not 0\.1"):
        _segment(data, whole[0], resume=True, learning_rate=0.1)
    with pytest.raises(LowzooError, match="already holds a run"):
        _segment(data, whole[0])


def test_an_error_of_a_process_that_reads_images_is_its_own_line(tmp_path):
    folder = drawn_set(tmp_path / "set")

    def changed_once_opened(line):
        if line.startswith("Train:"):
            for picture in (folder / "train").iterdir():
                Image.new("RGB", (50, 60)).save(picture)

    with pytest.raises(LowzooError, match="is 50 x 60 pixels") as caught:
        _segment(folder, tmp_path / "run", workers=1, steps=1, progress=changed_once_opened)
    assert "Traceback" not in str(caught.value)
    assert caught.value.remedy.startswith("Get the image again")


def test_a_start_that_is_refused_leaves_no_run_behind(data, tmp_path):
    with pytest.raises(LowzooError, match="last stage of a ResNet"):
        _segment(data, tmp_path / "run", model="test_vit", preset="sslight_c4", task="detect")
    _segment(data, tmp_path / "run", model="test_vit", task="detect", steps=1)


@pytest.mark.slow
def test_two_processes_are_one(data, tmp_path):
    for count in (1, 2):
        _segment(data, tmp_path / str(count), "optimizer=sgd", devices=count, batch_size=4, steps=3, learning_rate=0.02)
    one, two = (_losses(tmp_path / str(count)) for count in (1, 2))
    assert one[-1][1] == pytest.approx(two[-1][1], rel=1e-5)
    first, second = (_weights(tmp_path / str(count)) for count in (1, 2))
    for name, value in first.items():
        assert torch.allclose(value.float(), second[name].float(), atol=1e-5), name


def test_parts_of_a_step_see_the_same_images(data, tmp_path):
    found = _segment(data, tmp_path / "run", task="detect", batch_size=4, accumulate=2, steps=2)
    assert found.result.settings["accumulate"] == 2
    with pytest.raises(LowzooError, match="does not divide into 3 parts"):
        _segment(data, tmp_path / "other", batch_size=4, accumulate=3)


@pytest.mark.parametrize("model", slow_but(["test_resnet", "test_vit"], ("test_resnet",)))
def test_other_backbones_and_bf16(data, tmp_path, model):
    found = _segment(data, tmp_path / "run", model=model, steps=2, bf16=True, attention="window", task="detect")
    assert found.result.settings["precision"] == "bf16"
    assert load_detector(tmp_path / "run").backbone.architecture == model


def test_a_loaded_network_is_left_as_it_is(data, tmp_path):
    resolved = load_model(MODEL, pretrained=False)
    before = {name: value.clone() for name, value in resolved.model.state_dict().items()}
    _segment(data, tmp_path / "run", model=resolved, steps=1, random_init=False)
    assert all(torch.equal(value, before[name]) for name, value in resolved.model.state_dict().items())


def test_c4_with_precise_batch_norms(data, tmp_path):
    words = ["precise_bn=2", "network.post_nms=[8,8]", "network.pre_nms=[20,20]", "train_sizes=[64]", "test_size=64"]
    found = lowzoo.evaluate.segment(
        "test_resnet",
        data=data,
        folder=tmp_path / "run",
        preset="sslight_c4",
        steps=2,
        batch_size=2,
        learning_rate=1e-4,
        random_init=True,
        device="cpu",
        settings=[*words, "network.mask_channels=8", "network.region_batch=8", "longest=128"],
    )
    assert found.result.preset == "sslight_c4"
    assert found.result.settings["images_trained_on"] == 5  # the preset leaves out images without an object
    assert found.result.settings["network"]["extra_norm"] is True


@pytest.mark.slow
def test_minutes_are_kept(data, tmp_path):
    found = _segment(data, tmp_path / "run", task="detect", steps=None, minutes=0.2)
    assert found.result.settings["minutes"] == 0.2
    assert found.result.settings["steps"] >= 1


def test_a_run_that_is_loaded_as_its_minutes_end_is_concluded() -> None:
    said, laid = [], []
    config = SimpleNamespace(minutes=0.2)
    length = Length(5, (Segment(0, 0.0, 1000), Segment(3, 0.1, 30)))
    run = SimpleNamespace(config=config, step=6, length=length, _seconds=13.0, _began=time.monotonic())
    run._say, run._lay = said.append, laid.append
    assert DetectorRun._budget(run) is None  # type: ignore[arg-type]
    assert [each.total for each in laid] == [6]
    assert said == ["0.2 minutes are spent: the run ends at step 6"]


def test_an_unreadable_image_is_counted_and_named(tmp_path):
    folder = drawn_set(tmp_path / "set")
    (folder / "train" / "2.png").write_bytes(b"nothing")
    (folder / "val" / "1.png").write_bytes(b"nothing")
    found = _segment(folder, tmp_path / "run", batch_size=6, steps=1, task="detect")
    assert found.result.data["train"].skipped == 1
    assert found.result.data["test"].skipped == 1
    assert "1.png" in found.result.data["test"].unreadable[0]
    assert found.figures[0].n == 3
    assert "2.png" in (tmp_path / "run" / "bad_images.txt").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "2", "--minutes", "1"], "both give the length"),
        (["--set", "network.chanels=3"], "near: channels"),
        (["--set", "batch_size"], "sets nothing"),
        (["--preset", "sslight_fpn"], "preset"),
        (["--preset", "sslight_c4"], "last stage of a ResNet"),
    ],
)
def test_what_is_refused_on_the_command_line(capsys, data, tmp_path, words, message):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "detect", MODEL, "--random-init", "--data", str(data), "--folder", str(tmp_path / "r"), *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("lowzoo: error: ")
    assert message in error


def test_data_has_to_be_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "segment", MODEL])
    assert ended.value.code == 2
    assert "--data" in capsys.readouterr().err
