"""A run knows its images, compares classes by name, and never trusts a cache of other pictures."""

import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.cli.main import main
from lowzoo.data.reading import identity
from lowzoo.data.source import open_source
from lowzoo.evaluate.knn_protocol import open_train_test
from lowzoo.train.monitoring.monitor import KnnMonitor
from lowzoo.train.monitoring.progress import Progress
from tests.helpers.train import SETTINGS, config_of, make_pictures, make_teacher, start


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember digests of files at once, as of files that were written some time ago."""
    monkeypatch.setattr(identity, "_FRESH_SECONDS", 0.0)


def shuffle_bmps(folder: Path, seed: int) -> Path:
    """Pictures of one size in bytes under fixed names, with contents that follow the seed."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 24), ("validation", 8)):
        for index in range(count):
            path = folder / split / ("cold", "warm")[index % 2] / f"{index:03}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    time.sleep(0.02)
    return folder


def test_a_teacher_cache_of_other_pictures_is_refused(tmp_path: Path, settled: None) -> None:
    world = shuffle_bmps(tmp_path / "pictures", 0)
    config = config_of("rob_dino", tmp_path)
    start(world, tmp_path / "one", config, cache=tmp_path / "cache").train(Progress())
    start(world, tmp_path / "two", config, cache=tmp_path / "cache")
    shuffle_bmps(world, 1)
    with pytest.raises(LowzooError, match="was made for something else: data is"):
        start(world, tmp_path / "three", config, cache=tmp_path / "cache")
    copy = shutil.copytree(shuffle_bmps(world, 0), tmp_path / "copy")
    start(copy, tmp_path / "four", config, cache=tmp_path / "cache")


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_pictures_only(tmp_path: Path, settled: None) -> None:
    world = make_pictures(tmp_path / "pictures")
    config = config_of("sslight_dino", tmp_path)
    start(world, tmp_path / "run", config).train(Progress())
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert facts["images"] == 24
    assert facts["fingerprint"] == open_source(world).fingerprint()
    shutil.copytree(world, tmp_path / "copy")
    start(tmp_path / "copy", tmp_path / "run", config, resume=True)
    other = shutil.copytree(world, tmp_path / "other")
    (other / "train" / "cold" / "000.png").write_bytes((other / "train" / "warm" / "001.png").read_bytes())
    with pytest.raises(
        LowzooError, match="begun with other images: the pictures, or how they are read, of the training set differ"
    ):
        start(other, tmp_path / "run", config, resume=True)
    relabelled = shutil.copytree(world, tmp_path / "relabelled")
    (relabelled / "validation" / "warm").rename(relabelled / "validation" / "hot")
    with pytest.raises(LowzooError, match="the classes of the held-out set differ"):
        start(relabelled, tmp_path / "run", config, resume=True)


def test_a_run_that_is_killed_before_its_first_step_knows_its_pictures(tmp_path: Path) -> None:
    world = make_pictures(tmp_path / "pictures")
    config = config_of("sslight_dino", tmp_path)
    start(world, tmp_path / "run", config)
    (world / "train" / "cold" / "000.png").unlink()
    with pytest.raises(LowzooError, match=r"of the training set differ \(24 images, now 23\)"):
        start(world, tmp_path / "run", config, resume=True)


class _Colours:
    """Gives colours as features, which tell these classes apart."""

    def __init__(self, monitor: KnnMonitor) -> None:
        self.monitor = monitor

    def accuracy(self) -> float:
        from torch import device, nn

        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3, bias=False))
        nn.init.eye_(network[2].weight)
        from contextlib import nullcontext

        self.monitor.k = 1
        return self.monitor.measure(network, device("cpu"), nullcontext)[0]


def test_the_monitor_numbers_classes_as_the_training_set_does(tmp_path: Path) -> None:
    colours = {"ant": (250, 10, 10), "bee": (10, 250, 10), "cat": (10, 10, 250), "dog": (240, 240, 10)}
    for name, colour in colours.items():
        for split, count in (("train", 3), ("val", 2)):
            if (split, name) in (("val", "ant"), ("train", "dog")):
                continue
            for i in range(count):
                path = tmp_path / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shade = i if split == "train" else i + 4
                Image.new("RGB", (16, 16), tuple(max(0, value - shade) for value in colour)).save(path)
    monitor = KnnMonitor(open_source(tmp_path), open_source(tmp_path, "validation"), 16, 100, 100)
    assert _Colours(monitor).accuracy() == 100.0
    assert monitor.notes() == ["2 held-out images are of classes that the training images lack"]
    copied = open_source(tmp_path).subset(np.array([0, 1]))
    monitor = KnnMonitor(copied, open_source(tmp_path), 16, 100, 100)
    assert (monitor.queries, monitor.notes()) == (7, ["2 held-out images are training images, too"])
    with pytest.raises(LowzooError, match="holds 1 classes that train lacks, e.g. 'dog'".replace("train", ".*/train")):
        open_train_test(tmp_path)


def train(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    with pytest.raises(SystemExit) as ended:
        main(["train", *words, *settings, "--set", "epochs=1"])
    return ended.value.code, *capsys.readouterr()


@pytest.mark.slow
def test_a_set_without_validation_gives_up_a_fifth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_pictures(tmp_path / "pictures", 40) / "train"
    teacher = make_teacher(tmp_path / "teacher")
    words = ("rob", "--data", str(world), "--teacher", str(teacher), "--preset", "rob_dino")
    code, text, errors = train(capsys, *words, "--out", str(tmp_path / "run"))
    assert code == 0, errors
    assert "Held out for the k-NN monitor: a fifth of each class, 8 images" in text
    assert "(32 images)" in text
    assert "k-NN top-1 on held-out images" in text
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert (data["train"]["images"], data["held_out"]["images"]) == (32, 8)
    code, text, errors = train(capsys, *words, "--out", str(tmp_path / "all"), "--set", "monitor_epochs=0")
    assert code == 0, errors
    assert "(40 images)" in text
    assert "Held out" not in text


def test_odd_pictures_are_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_pictures(tmp_path / "pictures", 24)
    for name in ("cold/grey.png", "warm/white.png"):
        Image.new("RGB", (30, 30), (120, 120, 120)).save(world / "train" / name)
    (world / "train" / "cold" / "notes.txt").write_text("not a picture")
    (world / "train" / "cold" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    teacher = make_teacher(tmp_path / "teacher")
    words = ("rob", "--data", str(world), "--teacher", str(teacher), "--preset", "rob_dino")
    code, text, errors = train(capsys, *words, "--out", str(tmp_path / "run"), "--set", "max_bad_share=0.5")
    assert code == 0, errors
    assert "Found: 36 files, 35 pictures; left out: 1 .txt" in text
    lines = (tmp_path / "run" / "odd_images.txt").read_text().splitlines()
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert 1 <= len(lines) == facts["odd"]["constant"] <= 2
    assert len(set(lines)) == len(lines)
    assert f"Images that are constant: {len(lines)}; see" in text
    assert facts["left_out"] == {".txt": 1}


def test_a_stale_feature_is_never_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    world = tmp_path / "set"
    rng = np.random.default_rng(0)

    def write(swapped: bool) -> None:
        for split, count in (("train", 12), ("validation", 6)):
            for label, name in enumerate(("cold", "warm")):
                for i in range(count):
                    pixels = rng.integers(0, 30, (32, 32, 3), dtype=np.uint8)
                    # The colours of the held-out pictures change places.
                    pixels[..., 2 * (label ^ (swapped and split == "validation"))] += 200
                    path = world / split / name / f"{i}.bmp"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
        time.sleep(0.02)

    def knn() -> float:
        words = ["eval", "knn", "rob_vit_tiny", "--data", str(world), "--k", "1", "--image-size", "32", "--json"]
        with pytest.raises(SystemExit):
            main(words)
        return json.loads(capsys.readouterr().out)["figures"][0]["mean"]

    write(swapped=False)
    assert knn() == knn() == 100.0
    write(swapped=True)
    assert knn() == 0.0


def test_a_photograph_finds_its_turned_twin(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)).resize((120, 160))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    picture.transpose(Image.Transpose.ROTATE_90).save(turned, "JPEG", quality=97, exif=exif)
    (tmp_path / "turned.jpg").write_bytes(turned.getvalue())
    picture.save(tmp_path / "upright.png")
    source = open_source(tmp_path)
    assert np.abs(source.pixels(0).astype(int) - source.pixels(1)).mean() < 4
