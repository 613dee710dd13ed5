"""The picture of nearest neighbours: its layout, and frames that tell right from wrong."""

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.data.source import open_source
from lowzoo.evaluate.contact_sheet import draw_neighbours, one_of_each_class
from lowzoo.features.features import Features


@pytest.fixture
def images(tmp_path):
    for name, colour in (("a/1", (255, 255, 0)), ("a/2", (255, 0, 255)), ("b_c/1", (0, 255, 255))):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), colour).save(tmp_path / "set" / f"{name}.png")
    return open_source(tmp_path / "set")


def features(images, x):
    return Features(torch.tensor(x), torch.from_numpy(images.labels), torch.arange(len(x)), 0)


def test_frames_follow_the_neighbours(images, tmp_path):
    # Query a/2 is nearest to b_c/1, then a/1, then itself; query b_c/1 is nearest to itself.
    bank = features(images, [[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
    queries = features(images, [[0.0, 1.0], [1.0, 0.1], [1.0, 0.0]])
    path = tmp_path / "deep" / "sheet.png"
    draw_neighbours(images, bank, images, queries, path, title="what is alike", columns=8)
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    # The frame starts where a row of the picture, away from text, stops being white.
    row = pixels[22 + 40]
    starts = [x for x in range(1, len(row)) if row[x - 1].min() == 255 and row[x].min() < 250]
    frames = [tuple(row[x]) for x in starts]
    green, red, grey = (30, 150, 60), (205, 45, 40), (70, 70, 70)
    assert frames == [grey, red, green, green]
    assert tuple(pixels[22 + 50, starts[1] + 50]) == (0, 255, 255)
    assert tuple(pixels[22 + 50, starts[2] + 50]) == (255, 255, 0)
    second = pixels[22 + 102 + 14 + 6 + 40]
    assert [tuple(second[x]) for x in starts] == [grey, green, red, red]


def test_one_query_of_each_class():
    assert one_of_each_class([2, 0, 0, 0, 2, 7]) == [2, 4, 5]
