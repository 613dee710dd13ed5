"""What `lowzoo doctor` tells: versions, extras, what is broken and how to mend it."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

from lowzoo.cli.main import main
from lowzoo.system import doctor as module
from lowzoo.system.doctor import doctor


def test_it_names_versions_devices_and_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "x").write_bytes(bytes(1000))
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))
    report = doctor()
    assert report.packages["torch"] == version("torch")
    assert report.system["lowzoo"] == version("lowzoo")
    assert report.caches[str(tmp_path)] == 1000
    assert report.variables["LOWZOO_CACHE"] == str(tmp_path)
    assert report.devices[0].startswith("cpu (")
    assert len(report.devices) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()
    assert report.extras["train"] == []
    assert report.broken == []


def test_what_is_missing_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def without(name: str) -> str:
        if name in ("timm", "opencv-python-headless"):
            raise PackageNotFoundError(name)
        return "0.0.1" if name == "typer" else version(name)

    monkeypatch.setattr(module, "version", without)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "Broken: timm is not installed. Run `pip install 'timm>=" in said
    assert "Broken: typer 0.0.1 is installed, and >=" in said
    assert "lacks opencv-python-headless>=" in said


def test_json(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    assert ended.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "lowzoo.doctor/1"
    assert report["packages"]["torch"] == version("torch")
