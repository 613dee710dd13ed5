"""Subsets of labelled images: every class, no overlap, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_source
from lowzoo.evaluate.sets.subsets import folds, fraction_of, held_out, listed, require_classes, shots

LABELS = np.repeat([0, 1, 3], [20, 30, 1])[np.random.default_rng(0).permutation(51)]


def per_class(indices):
    return np.bincount(LABELS[indices], minlength=4).tolist()


def test_a_held_out_part_takes_its_share_of_every_class():
    rest, held = held_out(LABELS, 0.1, 0)
    assert per_class(held) == [2, 3, 0, 0]
    assert sorted([*rest, *held]) == list(range(51))
    assert np.array_equal(held, held_out(LABELS, 0.1, 0)[1])
    assert not np.array_equal(held, held_out(LABELS, 0.1, 1)[1])


def test_small_classes_give_one_image_away():
    rest, held = held_out(np.array([0, 0, 1, 1, 2]), 0.1, 0)
    assert (len(rest), len(held)) == (3, 2)


def test_nothing_to_hold_out():
    with pytest.raises(LowzooError, match="none of 3 images can be held out"):
        held_out(np.array([0, 1, 2]), 0.1, 0)


def test_shots_and_shares():
    assert per_class(shots(LABELS, 1, 0)) == [1, 1, 0, 1]
    assert not np.array_equal(shots(LABELS, 1, 0), shots(LABELS, 1, 1))
    assert per_class(fraction_of(LABELS, 0.1, 0)) == [2, 3, 0, 1]
    with pytest.raises(LowzooError, match="2 images of each class are wanted, and the smallest class has 1"):
        shots(LABELS, 2, 0)
    with pytest.raises(LowzooError, match=r"a fraction of 1.5 of the images is impossible"):
        fraction_of(LABELS, 1.5, 0)


def test_one_class_is_refused():
    assert len(require_classes(LABELS, "d")) == 3, "those that hold images"
    with pytest.raises(LowzooError, match="d holds images of one class only"):
        require_classes(np.array([5, 5]), "d")


def test_a_published_list(tmp_path):
    for name in ("a/x1.png", "a/x2.png", "b/y1.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "d" / name)
    source = open_source(tmp_path / "d")
    (tmp_path / "list.txt").write_text("y1.png\nx2.png\n\n")
    assert listed(source, [0, 1, 2], tmp_path / "list.txt").tolist() == [1, 2]
    (tmp_path / "list.txt").write_text("y1.png\nz.png\n")
    with pytest.raises(LowzooError, match=r"1 of 2 images of .*list.txt are not in d/train, e.g. z.png"):
        listed(source, [0, 1, 2], tmp_path / "list.txt")
    with pytest.raises(LowzooError, match=r"cannot read .*none.txt as a list"):
        listed(source, [0], tmp_path / "none.txt")


@pytest.fixture
def alike(tmp_path):
    """A source of four images, two of which have one name, and one a blank in its name."""
    for name in ("a/x.png", "a/two words.png", "b/x.png", "b/y.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "d" / name)
    source = open_source(tmp_path / "d")
    return source, {Path(source.where(i)).parent.name + "/" + Path(source.where(i)).name: i for i in range(4)}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("y.png", "b/y.png"),
        ("y.png 7", "b/y.png"),
        ("/data/b/y.png 7", "b/y.png"),
        ("C:\\data\\b\\y.png", "b/y.png"),
        ("two words.png", "a/two words.png"),
        ("two words.png 3", "a/two words.png"),
        ("b/x.png", "b/x.png"),
        ("a\\x.png 0", "a/x.png"),
    ],
)
def test_a_list_may_give_folders_and_classes(line, name, alike, tmp_path):
    source, places = alike
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe" + f"{line} \r\n\r\n".encode("utf-16-le"))
    assert listed(source, range(4), tmp_path / "list.txt").tolist() == [places[name]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("y.png\nx.png\n", "line 2 of .*, 'x.png', is the name of 2 images"),
        ("y.png\n\nb/y.png\n", "names one image twice, 'b/y.png' on lines 1 and 3"),
        ("y.png\nz.png\n", "1 of 2 images .* e.g. z.png on line 2"),
    ],
)
def test_a_list_that_does_not_name_one_image_a_line_is_refused(lines, message, alike, tmp_path):
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(LowzooError, match=message):
        listed(alike[0], range(4), tmp_path / "list.txt")


def test_folds_hold_every_image_out_once_and_leave_every_class_to_fit_on():
    labels = np.repeat([0, 1, 3], [11, 2, 1])
    masks = folds(labels, 0)
    held = np.stack(masks)
    assert held.shape == (5, 14)
    # The only image of a class is never held out.
    np.testing.assert_array_equal(held.sum(axis=0), [1] * 13 + [0])
    for mask in masks:
        assert set(labels[~mask]) == {0, 1, 3}
    assert [int(mask[:11].sum()) for mask in masks] == [3, 2, 2, 2, 2]
    assert all(np.array_equal(a, b) for a, b in zip(masks, folds(labels, 0), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(masks, folds(labels, 1), strict=True))


def test_fewer_images_make_fewer_folds():
    assert len(folds(np.array([0, 0, 0, 1, 1]), 0)) == 3
    assert folds(np.array([0, 1, 2]), 0) == []


def test_classes_are_counted_and_numbered_whatever_their_ids():
    labels = np.array([5_000_009, 7, 5_000_009, 4_999_000])
    classes = require_classes(labels, "d")
    numbers = classes.numbers(torch.from_numpy(labels))
    assert len(classes) == 3
    assert numbers.tolist() == [2, 0, 2, 1]
    assert classes.ids_of(numbers).tolist() == labels.tolist()
