"""WebDataset tars: read by index in any order, divided, kept in an index, and lost while they are used."""

import multiprocessing
import os
import pickle
import tarfile
import time

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.reading.open_files import forget_files
from lowzoo.data.source import open_source, split_names
from lowzoo.data.stores import tars
from tests.helpers.data import add, png, read_pickled, shade, shades, write_tar


def test_pictures_in_any_order_over_shards(tmp_path):
    for shard in range(3):
        write_tar(tmp_path / f"d/shard-{shard:03}.tar", range(10 * shard, 10 * shard + 10))
    source = open_source(tmp_path / "d")
    assert len(source) == 30
    for index in np.random.default_rng(0).permutation(30).tolist():
        assert shade(source, index) == index
        assert source.labels[index] == index % 3
    assert source.where(12) == f"{tmp_path}/d/shard-001.tar:000012.png"
    assert source.class_names is None


def test_text_labels_and_no_labels(tmp_path):
    source = open_source(write_tar(tmp_path / "a.tar", range(4), label="json"))
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0, 1, 0, 1]
    bare = open_source(write_tar(tmp_path / "b.tar", range(4), label=""))
    with pytest.raises(LowzooError, match="has no labels"):
        bare.require_labels()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(("kind", "form"), [("cls", "{}\r\n"), ("json", '{{"label": "{}"}}\r\n')])
def test_labels_are_the_same_however_they_are_saved(tmp_path, kind, form, encoding):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for shade, word in enumerate(("Hündin", "Katze")):
            add(archive, f"{shade}.png", png(shade))
            add(archive, f"{shade}.{kind}", form.format(word).encode(encoding))
    source = open_source(tmp_path / "a.tar")
    assert source.class_names == ("Hündin", "Katze")
    assert source.labels.tolist() == [0, 1]


def test_a_label_in_another_encoding_is_no_class_and_is_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for shade, label in enumerate((b"Katze", "Hündin".encode("latin-1"))):
            add(archive, f"{shade}.png", png(shade))
            add(archive, f"{shade}.cls", label)
    source = open_source(tmp_path / "a.tar")
    assert (source.class_names, source.labels.tolist()) == (("Katze",), [0, -1])
    assert dict(source.found.left_out)["label files that are no text"] == 1
    assert any("1 labels cannot be read: line 1 of 1.cls is no text in UTF-8" in note for note in source.found.notes)


def test_splits_of_tars(tmp_path):
    write_tar(tmp_path / "a/imagenet1k-train-0000.tar", [1])
    write_tar(tmp_path / "a/imagenet1k-validation-00.tar", [2])
    assert split_names(tmp_path / "a") == ("train", "validation")
    assert shades(open_source(tmp_path / "a", "validation")) == [2]
    word = str(tmp_path / "a/imagenet1k-{train-0000,validation-00}.tar")
    assert shades(open_source(word)) == [1]
    write_tar(tmp_path / "b/train/0.tar", [3])
    write_tar(tmp_path / "b/val/0.tar", [4])
    assert [shades(open_source(tmp_path / "b", split)) for split in ("train", "validation")] == [[3], [4]]
    val = str(tmp_path / "a/imagenet1k-validation-00.tar")
    assert split_names(val) == ("train", "validation")


def test_an_archive_beside_the_folders_that_came_out_of_it_is_no_shard(tmp_path):
    write_tar(tmp_path / "train.tar", [1])
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(png(2))
    assert shades(open_source(tmp_path)) == [2]


def test_headers_are_read_once_and_again_after_a_change(tmp_path, cache, monkeypatch):
    read = []
    real = tars.index_tar
    monkeypatch.setattr(tars, "index_tar", lambda path, advance: read.append(path.name) or real(path, advance))
    for shard in range(3):
        write_tar(tmp_path / f"d/{shard}.tar", [shard])
    first = open_source(tmp_path / "d")
    again = open_source(tmp_path / "d")
    assert read == ["0.tar", "1.tar", "2.tar"]
    assert (again.fingerprint(), again.labels.tolist()) == (first.fingerprint(), first.labels.tolist())
    time.sleep(0.01)
    write_tar(tmp_path / "d/1.tar", [7])
    forget_files()
    changed = open_source(tmp_path / "d")
    assert read[3:] == ["1.tar"]
    assert shades(changed) == [0, 7, 2]
    for file in (cache / "tars").iterdir():
        assert file.suffix == ".npz"
        file.write_bytes(file.read_bytes()[:50])
    assert shades(open_source(tmp_path / "d")) == [0, 7, 2]
    assert sorted(read[4:]) == ["0.tar", "1.tar", "2.tar"]


def test_without_a_place_for_the_index(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "file"))
    assert shades(open_source(write_tar(tmp_path / "a.tar", [5]))) == [5]


def test_a_tar_that_shrinks_or_vanishes_while_it_is_used(tmp_path):
    source = open_source(write_tar(tmp_path / "a.tar", range(3)))
    os.truncate(tmp_path / "a.tar", 2048 + 520)
    assert shades(source) == [0, None, None]
    forget_files()
    (tmp_path / "a.tar").unlink()
    with pytest.raises(BadImage, match=r"a\.tar:000000\.png .* No such file"):
        source.encoded(0)


def test_fingerprint_is_that_of_the_content(tmp_path):
    first = open_source(write_tar(tmp_path / "a/x.tar", range(4))).fingerprint()
    assert open_source(write_tar(tmp_path / "b/y.tar", range(4))).fingerprint() == first
    assert open_source(write_tar(tmp_path / "c/x.tar", range(5))).fingerprint() != first


def test_a_fork_and_a_fresh_process_read_the_same(tmp_path):
    source = open_source(write_tar(tmp_path / "a.tar", range(10)))
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(read_pickled, (pickle.dumps(source), 3)) == png(3)
