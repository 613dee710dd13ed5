"""The confusion picture: counts, colours, and which mistakes it names."""

import numpy as np
import torch
from PIL import Image

from lowzoo.evaluate import confusion


def test_counts():
    matrix = confusion.confusion_matrix(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 2]), 3)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_green_on_the_diagonal_red_off_it_white_where_nothing_is(tmp_path):
    truth, said = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    path = tmp_path / "deep" / "confusion.png"
    confusion.draw(truth, said, ("cat", "a_dog"), path, title="what is taken for what")
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    left, top = width - 2 * 450 - 8, 26

    def corner(row, column):
        return pixels[top + 450 * row + 100, left + 450 * column + 100]

    assert corner(1, 1).tolist() == [30, 120, 60]
    assert corner(1, 0).tolist() == [255, 255, 255]
    assert corner(0, 0)[1] == corner(0, 0).max() < 255
    assert corner(0, 1)[0] == corner(0, 1).max() < 255
    assert height > width


def test_many_classes_without_names(tmp_path):
    truth = torch.arange(1000)
    confusion.draw(truth, truth.roll(1), None, tmp_path / "big.png", title="t")
    with Image.open(tmp_path / "big.png") as opened:
        assert max(opened.size) < 1400
