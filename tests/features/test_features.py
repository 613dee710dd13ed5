"""Features: complete, in order, cached under a key that everything relevant is part of."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_source
from lowzoo.features import features
from lowzoo.features.features import extract_features
from lowzoo.zoo.resolve import Resolved


@pytest.fixture(autouse=True)
def cache(cache):
    return cache / "features"


@pytest.fixture
def images(tmp_path):
    for i in range(12):
        path = tmp_path / "images" / ("ab"[i % 2]) / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (20 * i, 0, 0)).save(path)
    return open_source(tmp_path / "images")


def network(model):
    return Resolved(model.eval(), "toy", "1", (3, 8, 8), (0, 0, 0), (1, 1, 1), "bilinear", 1.0, "", "", True)


def small(seed=0):
    torch.manual_seed(seed)
    return network(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def mean_red():
    return network(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def count_runs(monkeypatch):
    runs = []
    original = features._run
    monkeypatch.setattr(features, "_run", lambda *arguments: runs.append(1) or original(*arguments))
    return runs


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_in_order(images, workers):
    found = extract_features(mean_red(), images, batch_size=5, workers=workers, cache=False)
    order = [int(images.where(i)[-6:-4]) for i in range(12)]
    torch.testing.assert_close(found.x[:, 0] * 255, 20.0 * torch.tensor(order), atol=1e-3, rtol=0)
    assert found.x.dtype == torch.float32
    assert found.labels.tolist() == images.labels.tolist()
    assert found.skipped == 0


def test_second_run_reads_identical_tensors(images, monkeypatch, cache):
    runs = count_runs(monkeypatch)
    first, second = extract_features(small(), images), extract_features(small(), images)
    assert len(runs) == 1
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.x, extract_features(small(), images, cache=False).x)
    assert len(list(cache.iterdir())) == 1


def test_anything_that_changes_features_misses_the_cache(images, monkeypatch, tmp_path):
    runs = count_runs(monkeypatch)
    extract_features(small(), images)
    weights = small()
    with torch.no_grad():
        weights.model[0].bias[2] += 1e-3
    extract_features(weights, images)
    without_relu = small()
    without_relu.model[1] = nn.Identity()
    extract_features(without_relu, images)
    extract_features(dataclasses.replace(small(), crop_pct=0.8), images)
    Image.new("RGB", (20, 20), (1, 2, 3)).save(tmp_path / "images" / "a" / "new.png")
    extract_features(small(), open_source(tmp_path / "images"))
    assert len(runs) == 5


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"junk" * 99])
def test_a_corrupt_cached_file_is_computed_again(images, cache, damage):
    first = extract_features(small(), images).x.clone()  # it is mapped from the file that is damaged below
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert torch.equal(extract_features(small(), images).x, first)
    assert torch.equal(extract_features(small(), images).x, first)


def test_a_cache_that_cannot_be_written_is_no_error(images, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "file"))
    assert len(extract_features(small(), images).x) == 12


def test_broken_images_are_left_out_and_counted(images, tmp_path):
    (tmp_path / "images" / "a" / "00.png").write_text("words")
    found = extract_features(mean_red(), open_source(tmp_path / "images"), batch_size=1)
    assert found.skipped == 1
    assert len(found.x) == len(found.labels) == 11
    assert 0 not in (found.x[:, 0] * 255).round().tolist()
    assert extract_features(mean_red(), open_source(tmp_path / "images")).skipped == 1


def test_too_many_broken_images_are_refused(images, tmp_path, cache):
    for path in (tmp_path / "images" / "a").iterdir():
        path.write_text("words")
    with pytest.raises(LowzooError, match=r"6 of 12 images .* cannot be read, the first: .*a/00.png"):
        extract_features(mean_red(), open_source(tmp_path / "images"))
    assert not any(cache.iterdir())


def test_diverged_network(images):
    broken = small()
    with torch.no_grad():
        broken.model[0].weight.fill_(float("nan"))
    with pytest.raises(LowzooError, match="no finite numbers"):
        extract_features(broken, images)


def test_a_set_without_labels(tmp_path):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    assert extract_features(mean_red(), open_source(tmp_path)).labels.tolist() == [-1]
