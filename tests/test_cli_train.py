"""`lowzoo train rob`: every misuse is one line that names the remedy, exits with 2 and leaves nothing behind."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowzoo.cli.main import main
from tests.train_fixtures import SETTINGS, make_pictures, make_teacher


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_teacher(folder / "teacher")
    make_pictures(folder / "pictures")
    (folder / "empty").mkdir()
    for name, content in (("broken", b"\xff\xd8\xff\xe0 no picture"), ("texts", b"just a text")):
        (folder / name).mkdir()
        for index in range(6):
            (folder / name / f"{index}.jpg").write_bytes(content)
    (folder / "damaged").mkdir()
    for file in ("config.json", "model.safetensors", "head.safetensors"):
        content = (folder / "teacher" / file).read_bytes()
        (folder / "damaged" / file).write_bytes(content[:4000] if file == "model.safetensors" else content)
    (folder / "headless").mkdir()
    for file in ("config.json", "model.safetensors"):
        (folder / "headless" / file).write_bytes((folder / "teacher" / file).read_bytes())
    (folder / "a_file").write_text("in the way")
    return folder


CASES = {
    "unknown teacher": (["--teacher", "dino_vitz16"], ["unknown teacher 'dino_vitz16'", "near: dino_vits16"]),
    "unknown student": (["--student", "resnet81"], ["unknown student 'resnet81'", "near: resnet"]),
    "unknown preset": (["--preset", "rob_dyno"], ["unknown preset 'rob_dyno'", "rob_dino"]),
    "no such data": (["--data", "{world}/nowhere"], ["nowhere does not exist"]),
    "empty folder": (["--data", "{world}/empty"], ["empty"]),
    "only corrupt images": (["--data", "{world}/broken"], ["none of 6 images tried", "0.jpg"]),
    "texts named jpg": (["--data", "{world}/texts"], ["none of 6 images tried", "0.jpg"]),
    "batch too large": (["--set", "batch_size=999"], ["a batch of 999 is larger than", "24 images"]),
    "teacher without head": (["--teacher", "{world}/headless"], ["has no projection head", "--teacher-head fitted"]),
    "damaged teacher": (["--teacher", "{world}/damaged"], ["model.safetensors is damaged"]),
    "unknown key": (["--set", "epochz=3"], ["unknown configuration key 'epochz'", "epochs"]),
    "impossible value": (["--set", "lr=-1"], ["lr = -1 is impossible"]),
    "impossible view": (["--set", 'views=[{name="global",count=2,size=32,scale=[0.9,0.1]}]'], ["scale must run"]),
    "unknown device": (["--set", "device=abacus"], ["device 'abacus' cannot be used"]),
    "nothing to resume": (["--resume"], ["holds no run to resume"]),
    "config is no TOML": (["--config", "{world}/a_file"], ["is not TOML"]),
    "config is missing": (["--config", "{world}/none.toml"], ["cannot read"]),
    "out is a file": (["--out", "{world}/a_file"], ["cannot write to the folder"]),
    "patch_drop with a CNN": (["--student", "resnet18", "--set", "patch_drop=0.5"], ["patch_drop needs a ViT"]),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse_is_one_line(
    name: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, expected = CASES[name]
    base = ["train", "rob", "--preset", "rob_dino", "--data", str(world / "pictures"), "--epochs", "1"]
    base += [word for setting in SETTINGS for word in ("--set", setting)]
    base += ["--teacher", str(world / "teacher")]
    if "--student" in words:
        base = [word for word in base if word != "student=test_vit"]
        base = [word for i, word in enumerate(base) if not (word == "--set" and base[i + 1 : i + 2] == ["--set"])]
    with pytest.raises(SystemExit) as ended:
        main([*base, *(word.replace("{world}", str(world)) for word in words)])
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("lowzoo: error: ")
    assert len(error.splitlines()) == 1
    for part in expected:
        assert part in error
    assert not list(tmp_path.iterdir()), "something was left behind"


@pytest.mark.slow
def test_a_broken_picture_among_good_ones_is_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], world: Path
) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    (pictures / "train" / "cold" / "zz.jpg").write_text("a text")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(pictures / "train" / "warm" / "one_pixel.png")
    words = ["train", "rob", "--preset", "rob_dino", "--data", str(pictures), "--out", str(tmp_path / "run")]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--teacher", str(world / "teacher"), "--epochs", "1", "--set", "batch_size=26"])
    assert ended.value.code == 0
    assert "1 images could not be read" in capsys.readouterr().out
    assert "zz.jpg" in (tmp_path / "run" / "bad_images.txt").read_text()
