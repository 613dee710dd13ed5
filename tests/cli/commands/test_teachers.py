"""`lowzoo teachers`: every teacher of the catalog on a line, and all its facts as JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lowzoo import catalog
from lowzoo.io.download import downloads_folder
from tests.helpers.cli import runner


@pytest.fixture(autouse=True)
def no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))


run = runner("teachers")


def test_one_line_a_teacher(capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys)
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line.split() for line in out.partition("\n\n")[0].splitlines()}
    assert list(lines)[1:] == list(catalog.teachers())
    assert lines["dino_vits16"][1:] == (
        ["dino", "vit_small_patch16_224", "21.7", "65536", "74.5", "77.0", "Apache-2.0", "yes", "download"]
    )
    assert lines["swav_r50w2"][2:] == (
        ["resnet50", "x2", "93.9", "3000", "-", "77.3", "CC-BY-NC-4.0", "non-commercial", "download"]
    )
    assert lines["simclr_r50"][-5:] == ["not", "stated", "not", "stated", "link"]
    assert lines["mobilenetv2_supervised"][4] == "none"
    assert lines["rob_vit_tiny"][-1] == "here"


def test_json_has_all_facts_and_says_what_is_here(capsys: pytest.CaptureFixture) -> None:
    place = downloads_folder() / catalog.teacher("msn_vitb4").download_name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x")
    status, out, err = run(capsys, "--json", "--family", "msn")
    assert (status, err) == (0, "")
    found = {one["name"]: one for one in json.loads(out)}
    assert list(found) == [name for name, entry in catalog.teachers().items() if entry.family == "msn"]
    assert (found["msn_vitb4"]["here"], found["msn_vitb4"]["path"]) == (True, str(place))
    assert (found["msn_vitl7"]["here"], found["msn_vitl7"]["path"]) == (False, None)
    one = found["msn_vitl7"]
    assert (one["patch_size"], one["positions"], one["head_dim"], one["bottleneck_dim"]) == (7, "msn", 1024, 256)
    assert one["metrics"][0]["value"] == 80.7
    assert one["derivatives_may_be_published"] is True


def test_an_unknown_family_is_one_line(capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, "--family", "dinos")
    assert (status, out) == (2, "")
    assert err.startswith("lowzoo: error: unknown family dinos (near: dino). Take one of zoo,")


def test_the_list_needs_no_heavy_package() -> None:
    code = (
        "import sys; from lowzoo.cli.main import main\n"
        "try: main(['teachers'])\nexcept SystemExit: pass\n"
        "heavy = [name for name in ('torch', 'timm', 'numpy', 'cv2') if name in sys.modules]\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
