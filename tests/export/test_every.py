"""`--format all`: what is installed is written, what is not is listed, and a failure of one keeps the others."""

import errno
import json
from importlib.util import find_spec

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.base.next_line import next_line
from lowzoo.cli.main import main
from lowzoo.export import every
from lowzoo.export.every import export_all
from lowzoo.export.formats import FORMATS
from lowzoo.export.functions import export
from lowzoo.export.spec.spec import ExportSpec
from tests.helpers.export import tiny_resolved


@pytest.fixture
def few(monkeypatch):
    """ONNX and Core ML alone, whatever else is installed: an export of each takes seconds."""
    monkeypatch.setattr(FORMATS, "names", lambda: ["onnx", "coreml", "litert"])
    if find_spec("litert_torch"):
        monkeypatch.setattr(every, "require", _nothing)


def _nothing(distribution: str, extra: str) -> None:
    if distribution == "litert-torch":
        raise LowzooError("litert-torch is not installed", "Install lowzoo[litert]")


@pytest.mark.slow
def test_every_format_that_is_installed_and_the_extra_of_the_others(few, tmp_path):
    found = export(tiny_resolved(), format="all", out=tmp_path / "new")
    assert [row.format for row in found.rows] == ["onnx", "coreml", "litert"]
    onnx, coreml, litert = found.rows
    assert onnx.artifact.path.is_file()
    assert coreml.artifact.path.is_dir()
    assert onnx.host_ms > 0
    assert litert.missing
    assert not found.failed
    text = str(found)
    assert "Not here, litert: " in text
    assert "lowzoo[litert]" in text or "torch" in text
    assert "lowzoo check" in text
    assert "--cross" in text
    document = json.loads(found.to_json())
    assert document["rows"][0]["artifact"]["parity"]["min_cosine"] > 0.9999
    assert "<table>" in found._repr_html_()


def test_a_failure_of_one_keeps_the_others(few, tmp_path, monkeypatch):
    real = every.write_artifact

    def write(resolved, spec, *others, **named):
        if spec.format == "onnx":
            raise LowzooError("tiny cannot be exported to ONNX (no reason)", "Name another")
        return real(resolved, spec, *others, **named)

    monkeypatch.setattr(every, "write_artifact", write)
    found = export(tiny_resolved(), format="all", out=tmp_path)
    assert [row.format for row in found.failed] == ["onnx"]
    assert [artifact.spec.format for artifact in found.artifacts] == ["coreml"]
    assert "FAILED onnx: tiny cannot be exported to ONNX (no reason). Name another" in str(found)
    assert str(found).splitlines()[-1] == next_line(("check", found.artifacts[0].path))


def test_a_tool_that_fails_in_a_way_of_its_own_keeps_the_others(few, tmp_path, monkeypatch):
    real = every.write_artifact

    def write(resolved, spec, *others, **named):
        if spec.format == "coreml":
            raise ValueError("a pass\nof the converter")
        return real(resolved, spec, *others, **named)

    def full(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(every, "write_artifact", write)
    monkeypatch.setattr(every, "host_ms", full)
    found = export(tiny_resolved(), format="all", out=tmp_path)
    assert [row.format for row in found.failed] == ["coreml"]
    assert "FAILED coreml: ValueError: a pass of the converter. `--format coreml --debug` shows" in str(found)
    assert found.rows[0].artifact.path.is_file()
    assert found.rows[0].host_ms is None


def test_a_precision_that_one_format_has_not_is_told(few, tmp_path, monkeypatch):
    monkeypatch.setattr(FORMATS, "names", lambda: ["onnx", "coreml"])
    found = export(tiny_resolved(), format="all", precision="palette6", max_loss="cosine:0.5", out=tmp_path)
    assert found.rows[0].unavailable
    assert found.rows[1].artifact is not None
    assert "Not to be had, onnx: onnx cannot be exported in precision 'palette6'" in str(found)
    with pytest.raises(LowzooError, match="precision 'int3'"):
        export(tiny_resolved(), format="all", precision="int3", out=tmp_path)


def test_a_place_that_cannot_be_written_to_ends_it_in_one_line(few, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(LowzooError, match="cannot write to the folder"):
        export(tiny_resolved(), format="all", out=tmp_path / "file" / "folder")
    with pytest.raises(LowzooError, match="file: it is a file"):
        export(tiny_resolved(), format="all", out=tmp_path / "file")
    with pytest.raises(LowzooError, match="several files do not go into one"):
        export(tiny_resolved(), format="all", out=tmp_path / "x.onnx")

    def full(_, spec, *__, **___):
        if spec.format == "onnx":
            raise LowzooError("of its own", "Name another")
        error = OSError(errno.ENOSPC, "No space left on device")
        raise LowzooError("cannot write x: No space left on device", "Free some space") from error

    monkeypatch.setattr(every, "write_artifact", full)
    with pytest.raises(LowzooError, match=r"No space left on device; failed before: onnx \(of its own\)\. Free"):
        export_all(tiny_resolved(), {"onnx": ExportSpec(), "coreml": ExportSpec(format="coreml")}, tmp_path)


def test_the_command_says_so_by_its_status(few, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise LowzooError("no", "Name another")

    monkeypatch.setattr(every, "write_artifact", refuse)
    monkeypatch.setattr("lowzoo.export.functions._with_head", lambda model, spec, head: (tiny_resolved(), spec, ""))
    with pytest.raises(SystemExit) as caught:
        main(["export", "rob_vit_tiny", "--format", "all", "--out", str(tmp_path)])
    assert caught.value.code == 1
    assert "FAILED onnx: no. Name another" in capsys.readouterr().out
