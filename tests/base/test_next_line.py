"""Every "Next:" line that a command prints is run, word for word, in the folder where it was printed."""

import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf

from lowzoo.base.next_line import commands_of, next_line
from lowzoo.bench.results import protocol
from lowzoo.cli.commands import quickstart
from lowzoo.cli.main import main
from lowzoo.data.source import open_set
from lowzoo.export.formats import FORMATS
from tests.helpers.bench import SHORT
from tests.helpers.train import SETTINGS, make_pictures, make_teacher


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    assert ended.value.code == 0, f"{shlex.join(words)}: {err}"
    return out


def follow(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run what the text suggests; returns the verbs."""
    commands = commands_of(text)
    assert commands, "nothing is suggested"
    for program, *words in commands:
        assert program == "lowzoo"
        found = run(words, capsys)
        if words[0] == "check":
            assert "the weights that the file was made from" in found
            assert "every bound is kept" in found
    return [words[1] for words in commands]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a folder, with blanks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(protocol, "STANDARD", dataclasses.replace(SHORT, repeats=1))
    return folder


def model_folder(path: Path, architecture: str, num_classes: int, sides: tuple[int, int] = (32, 32)) -> Path:
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=num_classes)
    save_for_hf(model, path, safe_serialization=True)
    config = json.loads((path / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": [3, *sides]}
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "coreml", "executorch"])
def test_of_a_folder_that_is_called_like_a_model_of_timm(format_, scratch, capsys):
    if format_ == "executorch":
        pytest.importorskip("executorch")
    model_folder(scratch / "m" / "resnet18", "test_resnet", num_classes=0)
    text = run(["export", "m/resnet18", "--format", format_], capsys)
    assert follow(text, capsys) == (["check", "bench"] if format_ == "onnx" else ["check"])


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "coreml"])
@pytest.mark.parametrize("head", ["own", "probe"])
def test_of_a_classifier(format_, head, scratch, capsys):
    folder = model_folder(scratch / "tuned.v1", "test_resnet", num_classes=4)
    words = ["--head", "own"]
    if head == "probe":
        save_file({"fc.weight": torch.randn(4, 96), "fc.bias": torch.randn(4)}, "probe.safetensors")
        Path("classes.txt").write_text("ant\nbee\ncat\ndog\n")
        words = ["--head", "probe.safetensors", "--classes", "classes.txt"]
    assert "check" in follow(run(["export", f"./{folder.name}", "--format", format_, *words], capsys), capsys)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "coreml"])
def test_of_a_network_that_is_not_square(format_, scratch, capsys):
    folder = model_folder(scratch / "m" / "wide", "test_resnet", num_classes=0, sides=(32, 64))
    text = run(["export", str(folder), "--format", format_, "--out", f"wide.{_SUFFIX[format_]}"], capsys)
    assert "check" in follow(text, capsys)


_SUFFIX = {"onnx": "onnx", "coreml": "mlpackage"}


@pytest.mark.slow
def test_of_a_run(scratch, capsys):
    make_teacher(scratch / "teacher")
    make_pictures(scratch / "pictures")
    words = ["train", "rob", "--data", "pictures", "--teacher", "teacher", "--epochs", "1", "--out", "resnet18"]
    text = run([*words, *(word for setting in SETTINGS for word in ("--set", setting))], capsys)
    assert follow(text, capsys) == ["eval", "export"]


@pytest.mark.slow
def test_of_the_quickstart(scratch, capsys, monkeypatch):
    make_pictures(scratch / "FOLDER")
    trained = []
    monkeypatch.setattr(
        "lowzoo.train.command.run_training", lambda words, say, began: trained.append(words) or (Path("runs"), {})
    )
    lines = [line.strip() for line in quickstart._NEXT.splitlines()[1:]]
    commands = [shlex.split(line.split("   ")[0]) for line in lines]
    for program, *words in commands:
        if program == "python":
            subprocess.run([sys.executable, *words], check=True)
        else:
            run(words, capsys)
    assert [words[1] for words in commands] == ["-c", "list", "eval", "export", "train"]
    assert len(trained) == 1


@pytest.fixture
def trained(monkeypatch):
    """The sets that `train` was given, opened for training as it does."""
    opened = []

    def open_them(args, say, began):
        opened.append(open_set(args.data, args.reading).open("train"))
        return Path("runs"), {}

    monkeypatch.setattr("lowzoo.train.command.run_training", open_them)
    return opened


def _classes(source):
    return sorted({source.class_names[label] for label in source.labels})


def test_of_a_folder_of_images(scratch, capsys, trained):
    make_pictures(scratch / "my pictures", count=4)
    assert follow(run(["data", "my pictures", "--no-features"], capsys), capsys) == ["train"]
    assert (len(trained[0]), _classes(trained[0])) == (4, ["cold", "warm"])


def test_of_images_that_are_found_and_read_in_a_way_of_their_own(scratch, capsys, trained):
    files = [file.read_bytes() for file in sorted((make_pictures(scratch / "p", 4) / "train").rglob("*.png"))]
    columns = {"other": ["x"] * 4, "photo": files, "the kind": ["ant", "bee"] * 2}
    pq.write_table(pa.table(columns), "t.parquet")
    words = ["--image-column", "photo", "--label-column", "the kind", "--orientation", "stored"]
    assert follow(run(["data", "t.parquet", "--no-features", *words], capsys), capsys) == ["train"]
    Path("flat").mkdir()
    for place, content in enumerate(files):
        Path("flat", f"{place}.png").write_bytes(content)
    Path("its list.csv").write_text("".join(f"{place}.png,{'cd'[place % 2]}\n" for place in range(4)))
    words = ["--labels", "its list.csv", "--intensity", "0,255"]
    assert follow(run(["data", "flat", "--no-features", *words], capsys), capsys) == ["train"]
    assert [_classes(source) for source in trained] == [["ant", "bee"], ["c", "d"]]
    assert trained[0].rules.orientation == "stored"


@pytest.mark.slow
def test_of_images_that_nobody_can_train_on(scratch, capsys, trained):
    shutil.rmtree(make_pictures(scratch / "p", 2) / "train")
    assert follow(run(["data", "p", "--no-features"], capsys), capsys) == ["embed"]
    make_pictures(scratch / "q", 4)
    (scratch / "q" / "train" / "cold" / "broken.png").write_bytes(b"no picture")
    text = run(["data", "q", "--no-features"], capsys)
    assert "a training run stops at so many" in text
    assert follow(text, capsys) == ["data"]
    assert not trained


@pytest.mark.slow
def test_of_every_format_at_once(scratch, capsys, monkeypatch):
    pytest.importorskip("openvino")
    folder = model_folder(scratch / "tuned.v1", "test_resnet", num_classes=0)
    monkeypatch.setattr(FORMATS, "names", lambda: ["onnx", "openvino"])
    text = run(["export", f"./{folder.name}", "--format", "all", "--out", "its files"], capsys)
    (words,) = commands_of(text)
    assert (words[1], words[-1]) == ("check", "--cross")
    assert "every pair keeps its bounds" in run(words[1:], capsys)


def test_words_are_taken_for_what_they_are():
    line = next_line(("eval", "knn", Path("resnet18")), ("export", Path("-odd name"), "--format", "onnx"))
    assert line == "Next: lowzoo eval knn ./resnet18    or    lowzoo export './-odd name' --format onnx"
    assert commands_of(f"before\n{line}\n") == [
        ["lowzoo", "eval", "knn", "./resnet18"],
        ["lowzoo", "export", "./-odd name", "--format", "onnx"],
    ]
    assert next_line(("check", Path("/a/b"))) == "Next: lowzoo check /a/b"
