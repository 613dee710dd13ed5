"""Files that nothing here can run: refused with the remedy that exists, or written, marked and shown as such."""

import dataclasses
import json
from pathlib import Path

import pytest
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.next_line import commands_of
from lowzoo.bench.phones import iphone
from lowzoo.cli.main import main
from lowzoo.export import ExportSpec, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.checking import check_artifact
from lowzoo.export.formats.coreml.writer import notes_of_coreml
from lowzoo.export.mil.program import OPS
from lowzoo.export.readiness import coreml_readiness
from tests.helpers.export import SIDE, tiny_resolved

SPEC = ExportSpec(format="coreml")


@pytest.fixture
def blind(monkeypatch):
    """An interpreter that knows no convolution."""
    monkeypatch.delitem(OPS, "conv")


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_the_remedy_is_the_option(tmp_path):
    with pytest.raises(LowzooError) as caught:
        write_artifact(tiny_resolved(), SPEC, tmp_path / "x.mlpackage")
    assert "cannot be checked here" in caught.value.message
    assert "conv" in caught.value.message
    assert "--unchecked" in caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("spec", [SPEC, dataclasses.replace(SPEC, input="tensor", precision="fp16")])
def test_a_marked_file(tmp_path, spec):
    path = tmp_path / "x.mlpackage"
    artifact = write_artifact(tiny_resolved(), spec, path, unchecked=True)
    assert artifact.unchecked == notes_of_coreml(path)["lowzoo.unchecked"]
    assert "operators that the interpreter does not know: conv" in artifact.unchecked
    assert "NOT run" in artifact.parity.engine
    assert artifact.warnings[0].startswith("UNCHECKED: ")
    assert artifact.as_dict()["unchecked"] == artifact.unchecked
    assert coreml_readiness(path).operators["conv"] == 1, "what is known without running it still is"
    with pytest.raises(LowzooError, match="it was exported with --unchecked and says so"):
        check_artifact(path, tiny_resolved())


@pytest.mark.slow
def test_a_checker_that_came_later(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.mlpackage"
    with monkeypatch.context() as patch:
        patch.delitem(OPS, "conv")
        write_artifact(tiny_resolved(), SPEC, path, unchecked=True)
    report = check_artifact(path, tiny_resolved())
    assert not report.broken
    assert "conv" in report.unchecked
    assert any(line.startswith("UNCHECKED when it was exported") for line in report.lines())


@pytest.mark.slow
def test_where_the_checker_knows_all_the_option_changes_nothing(tmp_path):
    path = tmp_path / "x.mlpackage"
    artifact = write_artifact(tiny_resolved(), SPEC, path, unchecked=True)
    assert not artifact.unchecked
    assert "lowzoo.unchecked" not in notes_of_coreml(path)
    assert "interpreter" in artifact.parity.engine


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_what_can_be_checked_still_is(tmp_path, monkeypatch):
    monkeypatch.setattr("lowzoo.export.artifact.exported_module", lambda resolved, spec: nn.Sequential(
        nn.Conv2d(3, 6, SIDE), nn.Flatten()
    ).eval())  # fmt: skip
    with pytest.raises(ParityError, match="relative error"):
        write_artifact(tiny_resolved(), SPEC, tmp_path / "x.mlpackage", unchecked=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_the_command_line_says_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lowzoo.zoo.given.load_model", lambda word, **_: tiny_resolved())
    monkeypatch.chdir(tmp_path)
    path = Path("rob_vit_tiny.x_96.mlpackage")  # as it is called by default, which is a name of the catalog too
    words = ["export", "tiny", "--format", "coreml", "--out", str(path)]
    assert _status(words) == 2
    assert "--unchecked" in capsys.readouterr().err
    assert _status([*words, "--unchecked"]) == 0
    text = capsys.readouterr().out
    assert "Warning: UNCHECKED: " in text
    (words,) = commands_of(text)
    assert words == ["lowzoo", "info", f"./{path}"], "a check of it would be refused"
    assert _status(words[1:]) == 0
    assert "unchecked" in capsys.readouterr().out
    assert _status(["info", str(path), "--json"]) == 0
    assert "conv" in json.loads(capsys.readouterr().out)["unchecked"]


def _status(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.slow
@pytest.mark.usefixtures("blind")
def test_timing_says_it(tmp_path):
    from lowzoo.bench.results.assemble import repeat_of
    from lowzoo.bench.results.schema import ModelInput
    from tests.bench.phones.test_iphone import PHONE, PROTOCOL

    path = tmp_path / "x.mlpackage"
    write_artifact(tiny_resolved(), SPEC, path, unchecked=True)
    given = ModelInput(name="image", type="imageType", shape=(1, SIDE, SIDE, 3), content="x")
    repeat = repeat_of(
        [1.0] * 20, load_ms=1.0, first_run_ms=1.0, warmup_runs=1, baseline_memory_mb=None, peak_memory_mb=None
    )
    result = iphone.as_result(path, [repeat], PHONE, "all", given, PROTOCOL, "2026-01-01T00:00:00+00:00")
    assert any("exported unchecked" in warning for warning in result.warnings)


def test_a_known_reason_is_quoted(tmp_path, monkeypatch):
    from lowzoo.catalog.families import FamilyEntry

    resolved = tiny_resolved()
    resolved.model.pretrained_cfg = {"architecture": "resnet18"}
    entry = FamilyEntry("resnet", "resnet10t", {"coreml": "it is too round"})
    monkeypatch.setattr("lowzoo.export.artifact.family_of", {"resnet18": entry}.get)

    def refuse(*_):
        raise LowzooError("tiny cannot be exported", "Try another")

    from lowzoo.export.formats import FORMATS

    monkeypatch.setitem(FORMATS._specs, "coreml", dataclasses.replace(FORMATS["coreml"], writer=refuse))
    with pytest.raises(LowzooError, match="known of its family resnet, tried on resnet10t: it is too round"):
        write_artifact(resolved, SPEC, Path(tmp_path / "x.mlpackage"))
