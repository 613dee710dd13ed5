"""`lowzoo export`: what it prints, its exit statuses, and that misuse leaves nothing behind."""

import json
from pathlib import Path

import pytest

from lowzoo.data.stores.samples import demonstration_photos
from lowzoo.export.spec import bounds
from tests.helpers.cli import exit_status
from tests.helpers.export import tiny_resolved


def run(words: list[str]) -> int:
    return exit_status(["export", *words])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the word is, it means the tiny network."""
    monkeypatch.setattr("lowzoo.zoo.given.load_model", lambda word, **_: tiny_resolved())


@pytest.mark.slow
def test_the_bundled_model_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["--format", "onnx", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "lowzoo.artifact/1"
    assert facts["model"].startswith("rob_vit_tiny.")
    assert [path.name for path in tmp_path.iterdir()] == [facts["path"]]
    assert facts["path"] == "rob_vit_tiny.mobilenetv2_sup_tin100_128_fp32.onnx"
    assert facts["parity"]["relative_error"] <= facts["bounds"]["relative_error"] == 1e-4


@pytest.mark.usefixtures("tiny")
def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made by" / "tiny.onnx"
    assert run(["tiny", "--out", str(out), "--batch", "dynamic"]) == 0
    text = capsys.readouterr().out
    assert "tiny.tag (sha256:0123456789ab)" in text
    assert "input image: uint8 RGB N x 32 x 32 x 3, opset 20, fp32" in text
    assert "on 64 real images" in text
    for label in ("largest error", "mean error", "relative error", "smallest cosine", "mean cosine", "k-NN agreement"):
        assert label in text
    assert f"Next: lowzoo check '{out}'    or    lowzoo bench '{out}'" in text
    assert out.is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_broken_parity_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(bounds.BOUNDS, "fp32", bounds.Bounds(0.0, 1.1, 1.0))
    assert run(["--out", str(tmp_path / "x.onnx"), "--json"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert error.splitlines()[-1].startswith("lowzoo: error: the fp32 artifact does not compute what PyTorch computes")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rob_vit_tny"], "near: rob_vit_tiny"),
        (["--format", "keras"], "unknown format 'keras'"),
        (["--size", "100"], "no multiple of the patch size"),
        (["--batch", "many"], "a batch of 'many' is impossible"),
        (["--batch", "0"], "a batch of 0 is impossible"),
        (["--input", "video"], "unknown input 'video'"),
        (["--precision", "palette4"], "cannot be exported in precision 'palette4'"),
        (["--max-loss", "much"], "a loss of 'much' is impossible"),
        (["--head", "{folder}/file"], "go together"),
        (["--head", "{folder}/file", "--classes", "{folder}/none"], "cannot read {folder}/none as a list of classes"),
        (["--head", "{folder}/file", "--classes", "{folder}/file"], "a classifier has two or more"),
        (["--format", "coreml", "--out", "{folder}/file"], "it is a file"),
        (["--precision", "int8", "--calibration", "{folder}/none"], "{folder}/none"),
        (["--opset", "7"], "opset 7 cannot be written"),
        (["--out", "{folder}/file/x.onnx"], "cannot write"),
    ],
)
def test_misuse_exits_with_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run([word.format(folder=tmp_path) for word in words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message.format(folder=tmp_path) in error[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_images_are_too_few_to_calibrate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "two").mkdir()
    for name, data in demonstration_photos()[:2]:
        (tmp_path / "two" / name).write_bytes(data)
    words = ["--precision", "int8", "--calibration", str(tmp_path / "two"), "--out", str(tmp_path / "x.onnx")]
    assert run(words) == 2
    assert "2 images, too few to calibrate on. Name 16 or more" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
