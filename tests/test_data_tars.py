"""WebDataset tars: read by index in any order, from any way of naming them, and whatever has happened to them."""

import gzip
import io
import json
import multiprocessing
import os
import pickle
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from lowzoo.data import tars
from lowzoo.data.decode import BadImage, decode_rgb
from lowzoo.data.source import open_source, split_names
from lowzoo.data.tars import open_tars
from lowzoo.errors import LowzooError


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(shade):
    buffer = io.BytesIO()
    Image.new("L", (4, 4), shade).save(buffer, "PNG")
    return buffer.getvalue()


def add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def write(path, shades, *, label="cls", form=tarfile.GNU_FORMAT, prefix=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for shade in shades:
            add(archive, f"{prefix}{shade:06}.png", png(shade))
            if label == "cls":
                add(archive, f"{prefix}{shade:06}.cls", str(shade % 3).encode())
            if label == "json":
                add(archive, f"{prefix}{shade:06}.json", json.dumps({"label": ["cat", "dog"][shade % 2]}).encode())
    return path


def shade(source, index):
    return int(decode_rgb(source.encoded(index), source.where(index))[0, 0, 0])


def shades(source):
    """The shade of each picture, None where it is lost."""
    found = []
    for index in range(len(source)):
        try:
            found.append(shade(source, index))
        except BadImage:
            found.append(None)
    return found


def test_pictures_in_any_order_over_shards(tmp_path):
    for shard in range(3):
        write(tmp_path / f"d/shard-{shard:03}.tar", range(10 * shard, 10 * shard + 10))
    source = open_source(tmp_path / "d")
    assert len(source) == 30
    for index in np.random.default_rng(0).permutation(30).tolist():
        assert shade(source, index) == index
        assert source.labels[index] == index % 3
    assert source.where(12) == f"{tmp_path}/d/shard-001.tar:000012.png"
    assert source.class_names is None


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("prefix", ["", "cat/", "a/" * 60])
def test_every_dialect_and_length_of_name(tmp_path, form, prefix):
    write(tmp_path / "a.tar", range(5), form=form, prefix=prefix)
    source = open_source(tmp_path / "a.tar")
    assert shades(source) == [0, 1, 2, 3, 4]
    assert source.where(3).endswith(f"a.tar:{prefix}000003.png")
    assert source.labels.tolist() == [0, 1, 2, 0, 1]


def test_names_beyond_ustar_and_latin(tmp_path):
    name = "é猫" * 80 + ".png"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            add(archive, name, png(9))
            add(archive, "b.png", png(10))
        source = open_source(tmp_path / "a.tar")
        assert shades(source) == [9, 10]
        assert source.where(0).endswith(name)


def test_text_labels_and_no_labels(tmp_path):
    source = open_source(write(tmp_path / "a.tar", range(4), label="json"))
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0, 1, 0, 1]
    bare = open_source(write(tmp_path / "b.tar", range(4), label=""))
    with pytest.raises(LowzooError, match="has no labels"):
        bare.require_labels()


def test_a_sample_with_many_members_has_one_picture(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for sample in ("x.1", "x.2", "y"):
            add(archive, f"d/{sample}.txt", b"words")
        for key in ("p", "q"):
            add(archive, f"._{key}.jpg", b"a Mac was here")
            add(archive, f"{key}.cls", b"4\n")
            add(archive, f"{key}.json", b"[1, 2]")
            add(archive, f"{key}.PNG", png(50))
            add(archive, f"{key}.seg.png", png(60))
            add(archive, f"{key}.webp", png(70))
        archive.addfile(tarfile.TarInfo("folder.jpg/"))
    source = open_source(tmp_path / "a.tar")
    assert shades(source) == [50, 50]
    assert source.labels.tolist() == [4, 4]


def test_ways_of_naming_tars(tmp_path, monkeypatch):
    for shard in range(8, 12):
        write(tmp_path / f"d/s-{shard:03}.tar", [shard])
    for word in (
        "s-{008..011}.tar",
        "s-{011..008}.tar",
        "s-{011,010,009,008}.tar",
        "s-{00{8,9},01{0,1}}.tar",
        "s-*.tar",
    ):
        assert sorted(shades(open_source(str(tmp_path / "d" / word)))) == [8, 9, 10, 11]
    (tmp_path / "d/list.txt").write_text("# two of them\ns-009.tar\n\ns-008.tar\n")
    assert shades(open_source(tmp_path / "d/list.txt")) == [9, 8]
    assert shades(open_source(tmp_path / "d/s-010.tar")) == [10]
    monkeypatch.chdir(tmp_path / "d")
    assert shades(open_source("s-00{8..9}.tar")) == [8, 9]


def test_splits_of_tars(tmp_path):
    write(tmp_path / "a/imagenet1k-train-0000.tar", [1])
    write(tmp_path / "a/imagenet1k-validation-00.tar", [2])
    assert split_names(tmp_path / "a") == ("train", "validation")
    assert shades(open_source(tmp_path / "a", "validation")) == [2]
    word = str(tmp_path / "a/imagenet1k-{train-0000,validation-00}.tar")
    assert shades(open_source(word)) == [1]
    write(tmp_path / "b/train/0.tar", [3])
    write(tmp_path / "b/val/0.tar", [4])
    assert [shades(open_source(tmp_path / "b", split)) for split in ("train", "validation")] == [[3], [4]]
    val = str(tmp_path / "a/imagenet1k-validation-00.tar")
    assert split_names(val) == ("train", "validation")


def test_an_archive_beside_the_folders_that_came_out_of_it_is_no_shard(tmp_path):
    write(tmp_path / "train.tar", [1])
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(png(2))
    assert shades(open_source(tmp_path)) == [2]


@pytest.mark.parametrize(
    ("make", "word", "message"),
    [
        (lambda d: None, "s-{00..03}.tar", "4 of 4 shards of .* do not exist, the first is .*s-00.tar"),
        (lambda d: None, "*.tar", "no file matches"),
        (lambda d: (d / "l.txt").write_text("a.tar\nb.jpg\n"), "l.txt", "names 'b.jpg', which is no tar file"),
        (lambda d: (d / "l.txt").write_text("a.tar\n"), "l.txt", "1 of 1 shards"),
        (lambda d: (d / "a.tar").write_bytes(b""), "a.tar", "no picture in 1 tars: .*a.tar it is empty"),
        (lambda d: (d / "a.tar").write_bytes(os.urandom(5000)), "a.tar", "no tar header at byte 0"),
        (lambda d: (d / "a.tar").write_bytes(gzip.compress(bytes(9000), 0)), "a.tar", "is compressed"),
        (lambda d: write(d / "a.tar", []), "a.tar", "no picture in 1 tars"),
        (lambda d: None, "https://x/{0..3}.tar", "is an address"),
        (lambda d: None, "s-{0..9999999}.tar", "more than 1000000 shards"),
    ],
    ids=range(10),
)
def test_refused_at_the_door(tmp_path, make, word, message):
    (tmp_path / "d").mkdir()
    make(tmp_path / "d")
    with pytest.raises(LowzooError, match=message) as caught:
        open_source(word if "://" in word else str(tmp_path / "d" / word))
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def damaged_set(folder, damage):
    """Five shards of ten pictures; `damage` gets the bytes of the third."""
    for shard in range(5):
        write(folder / f"s-{shard}.tar", range(10 * shard, 10 * shard + 10))
    victim = folder / "s-2.tar"
    victim.write_bytes(damage(victim.read_bytes()))
    return open_source(folder)


def garbage_in_the_middle(data):
    # Two blocks for a picture and two for its label; from the fifth picture's pixels to the seventh's header.
    return data[: 4 * 2048 + 520] + b"\xa5" * 4096 + data[4 * 2048 + 520 + 4096 :]


@pytest.mark.parametrize(
    ("damage", "message", "readable"),
    [
        (lambda data: data[: 3 * 2048 + 512 + 40], "cut off at byte 6696", [20, 21, 22]),
        (lambda data: data[: 3 * 2048 + 100], "cut off at byte 6244", [20, 21, 22]),
        (lambda data: b"", "it is empty", []),
        (lambda data: b"not found\n", "it is cut off at byte 10", []),
        (lambda data: b"\xa5" * len(data), "no tar header at byte 0", []),
        (garbage_in_the_middle, "no tar header at byte 9216", [20, 21, 22, 23, 27, 28, 29]),
    ],
    ids=["cut in a picture", "cut in a header", "empty", "an error page", "garbage", "garbage in the middle"],
)
def test_a_damaged_shard_is_counted_and_named_and_the_rest_is_used(tmp_path, damage, message, readable):
    source = damaged_set(tmp_path / "d", damage)
    assert len(source) == 50
    found = shades(source)
    assert [s for s in found if s is not None and 20 <= s < 30] == readable
    assert sorted(s for s in found if s is not None and not 20 <= s < 30) == [*range(20), *range(30, 50)]
    lost = [index for index, s in enumerate(found) if s is None]
    messages = []
    for index in lost:
        with pytest.raises(BadImage) as caught:
            decode_rgb(source.encoded(index), source.where(index))
        messages.append(caught.value.message)
    assert all(line.startswith(f"{tmp_path}/d/s-2.tar") for line in messages)
    assert any(message in line for line in messages)
    assert source.require_labels().min() == 0
    assert all(source.labels[i] == s % 3 for i, s in enumerate(found) if s is not None)


def test_headers_are_read_once_and_again_after_a_change(tmp_path, cache, monkeypatch):
    read = []
    real = tars.index_tar
    monkeypatch.setattr(tars, "index_tar", lambda path: read.append(path.name) or real(path))
    for shard in range(3):
        write(tmp_path / f"d/{shard}.tar", [shard])
    first = open_source(tmp_path / "d")
    again = open_source(tmp_path / "d")
    assert read == ["0.tar", "1.tar", "2.tar"]
    assert (again.fingerprint(), again.labels.tolist()) == (first.fingerprint(), first.labels.tolist())
    time.sleep(0.01)
    write(tmp_path / "d/1.tar", [7])
    tars._file.cache_clear()
    changed = open_source(tmp_path / "d")
    assert read[3:] == ["1.tar"]
    assert shades(changed) == [0, 7, 2]
    for file in (cache / "tars").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    assert shades(open_source(tmp_path / "d")) == [0, 7, 2]
    assert sorted(read[4:]) == ["0.tar", "1.tar", "2.tar"]


def test_without_a_place_for_the_index(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "file"))
    assert shades(open_source(write(tmp_path / "a.tar", [5]))) == [5]


def test_a_tar_that_shrinks_or_vanishes_while_it_is_used(tmp_path):
    source = open_source(write(tmp_path / "a.tar", range(3)))
    os.truncate(tmp_path / "a.tar", 2048 + 520)
    assert shades(source) == [0, None, None]
    tars._file.cache_clear()
    (tmp_path / "a.tar").unlink()
    with pytest.raises(BadImage, match=r"a\.tar:000000\.png .* No such file"):
        source.encoded(0)


def test_fingerprint_is_that_of_the_content(tmp_path):
    first = open_source(write(tmp_path / "a/x.tar", range(4))).fingerprint()
    assert open_source(write(tmp_path / "b/y.tar", range(4))).fingerprint() == first
    assert open_source(write(tmp_path / "c/x.tar", range(5))).fingerprint() != first


def read_pickled(data, index):
    return pickle.loads(data).encoded(index)


def test_a_fork_and_a_fresh_process_read_the_same(tmp_path):
    source = open_source(write(tmp_path / "a.tar", range(10)))
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(read_pickled, (pickle.dumps(source), 3)) == png(3)


def test_indexing_is_fast(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for index in range(3000):
            add(archive, f"{index:06}.jpg", b"x")
    start = time.process_time()
    reader, _, _ = open_tars([tmp_path / "a.tar"])
    assert len(reader) == 3000
    assert time.process_time() - start < 0.6
