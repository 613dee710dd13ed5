"""`lowzoo train rob`: every misuse is one line that names the remedy, exits with 2 and leaves nothing behind."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.cli.main import main
from tests.helpers.teacher_files import make_checkpoint
from tests.helpers.train import SETTINGS, make_pictures, make_teacher


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
    make_checkpoint("dino", folder / "another.pth")
    torch.save({"teacher": {}, "code": _Code(folder / "it_ran")}, folder / "code.pth")
    return folder


class _Code:
    """What a pickle can hold: a call of anything."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


OFFICIAL = ["--teacher", "dino_vits16", "--set"]
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
    "file of another network": ([*OFFICIAL, "teacher_file={world}/another.pth"], ["another.pth", "does not fit"]),
    "file with code": ([*OFFICIAL, "teacher_file={world}/code.pth"], ["code.pth", "could run code; it was not loaded"]),
    "patch loss with a CNN": (["--student", "resnet18", "--loss", "ibot"], ["resnet18 has no patches"]),
    "patch loss without patches": (
        ["--loss", "ibot", "--set", "teacher=dino_vits16"],
        ["dino_vits16 is of family dino"],
    ),
    "prototypes of another width": (
        ["--set", "teacher=dino_vits16", "--set", "teacher_prototypes=true"],
        ["as wide as that of dino_vits16", "8 is not 256", "student_head.bottleneck=256"],
    ),
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
    assert not (world / "it_ran").exists()


def test_a_teacher_that_takes_no_local_views_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "seed", "--preset", "seed_small_patch", "--data", str(world / "pictures"), "--steps", "1"]
    words += ["--teacher", "rob_vit_tiny", "--student", "test_vit", "--batch-size", "4", "--set", "queue=4"]
    words += ["--set", "view.global.size=64", "--set", "view.local.size=32", "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "teacher rob_vit_tiny was loaded for 64 px and takes no local views of 32 px" in error
    assert not (tmp_path / "run").exists()


def _run(data: Path, world: Path, out: Path, batch: int) -> int:
    words = ["train", "rob", "--preset", "rob_dino", "--data", str(data), "--out", str(out)]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--teacher", str(world / "teacher"), "--epochs", "1", "--set", f"batch_size={batch}"])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_odd_pictures_are_used_and_broken_ones_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], world: Path
) -> None:
    folder = make_pictures(tmp_path / "pictures") / "train" / "cold"
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    picture = Image.fromarray(noise)
    picture.save(folder / "whole.jpg")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "sixteen_bits.png")
    picture.save(folder / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.crop((0, 0, 1, 1)).save(folder / "one_pixel.png")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "text.jpg").write_text("a text")
    assert _run(tmp_path / "pictures", world, tmp_path / "run", 31) == 0
    assert "Images that could not be read, repeats counted: 2;" in capsys.readouterr().out
    named = (tmp_path / "run" / "bad_images.txt").read_text().splitlines()
    assert sorted(Path(line.partition(" is not")[0]).name for line in named) == ["cut.jpg", "text.jpg"]


@pytest.mark.slow
def test_a_shard_that_breaks_off_costs_its_own_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    pictures = sorted((make_pictures(tmp_path / "pictures") / "train").rglob("*.png"))
    shards = tmp_path / "shards"
    shards.mkdir()
    for shard in range(3):
        with tarfile.open(shards / f"{shard}.tar", "w") as archive:
            for file in pictures[8 * shard : 8 * shard + 8]:
                archive.add(file, file.name)
    whole = (shards / "1.tar").read_bytes()
    (shards / "1.tar").write_bytes(whole[: len(whole) // 2])
    assert _run(shards, world, tmp_path / "run", 24) == 0
    named = (tmp_path / "run" / "bad_images.txt").read_text().splitlines()
    assert named
    assert all("1.tar" in line for line in named)
    assert "Images that could not be read" in capsys.readouterr().out
