"""`lowzoo export`: what it prints, its exit statuses, and that misuse leaves nothing behind."""

import json
from pathlib import Path

import pytest

from lowzoo.cli.main import main
from lowzoo.export import parity


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", *words])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_the_bundled_model_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["--format", "onnx", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["model"].startswith("rob_vit_tiny.")
    assert Path(facts["path"]).is_file()
    assert facts["parity"]["relative_error"] <= parity.BOUNDS["fp32"].relative_error
    assert run(["--out", str(tmp_path / "again.onnx")]) == 0
    text = capsys.readouterr().out
    assert "k-NN agreement" in text
    assert "Next: lowzoo bench" in text


def test_broken_parity_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(parity.BOUNDS, "fp32", parity.Bounds(0.0, 1.1, 1.0))
    assert run(["--out", str(tmp_path / "x.onnx")]) == 1
    assert "does not compute what PyTorch computes" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rob_vit_tny"], "near: rob_vit_tiny"),
        (["--format", "coreml"], "cannot be exported yet"),
        (["--size", "100"], "no multiple of the patch size"),
        (["--batch", "many"], "a batch of 'many' is impossible"),
        (["--out", "{folder}"], "it is a directory"),
        (["--out", "{folder}/file/x.onnx"], "cannot write"),
    ],
)
def test_misuse_exits_with_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run([word.format(folder=tmp_path) for word in words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
