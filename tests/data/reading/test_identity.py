"""One identity of data: by content, whatever names, sizes and times say; remembered, and never wrongly."""

import os
import shutil
import sqlite3
import time

import numpy as np
import pytest
from PIL import Image

from lowzoo.data.reading import identity
from lowzoo.data.reading.identity import UNREADABLE, file_digests
from lowzoo.data.source import open_source
from lowzoo.io.cache_folder import cache_folder


def bmp(path, shade):
    """Pictures of one size in bytes, whatever they show."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(path)


@pytest.fixture
def settled(monkeypatch):
    """Remember files at once, as if they had been written some time ago."""
    monkeypatch.setattr(identity, "_FRESH_SECONDS", 0.0)
    time.sleep(0.02)


@pytest.fixture
def reads(monkeypatch):
    """Count the files that are read."""
    seen = []
    read = identity._digest_of
    monkeypatch.setattr(identity, "_digest_of", lambda path, *words: seen.append(path) or read(path, *words))
    return seen


def folder_of(tmp_path, shades, name="data"):
    for i, shade in enumerate(shades):
        bmp(tmp_path / name / f"{i}.bmp", shade)
    time.sleep(0.02)
    return tmp_path / name


def test_pictures_replaced_by_others_of_the_same_name_and_size_are_other_data(tmp_path, settled):
    folder = folder_of(tmp_path, [10, 20, 30])
    before = open_source(folder).fingerprint()
    assert open_source(folder).fingerprint() == before
    status = os.stat(folder / "1.bmp")
    bmp(folder / "1.bmp", 200)
    os.utime(folder / "1.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(folder / "1.bmp").st_size == status.st_size
    assert os.stat(folder / "1.bmp").st_mtime_ns == status.st_mtime_ns
    assert open_source(folder).fingerprint() != before


def test_a_picture_written_over_in_place_is_other_data(tmp_path, settled):
    folder = folder_of(tmp_path, [10])
    before = open_source(folder).fingerprint()
    status = os.stat(folder / "0.bmp")
    with open(folder / "0.bmp", "rb+") as file:
        file.seek(60)
        file.write(b"\xff")
    os.utime(folder / "0.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(folder / "0.bmp").st_ino == status.st_ino
    assert open_source(folder).fingerprint() != before


def test_two_pictures_that_change_places_are_other_data(tmp_path, settled):
    folder = folder_of(tmp_path, [10, 20])
    before = open_source(folder).fingerprint()
    (folder / "0.bmp").rename(folder / "x")
    (folder / "1.bmp").rename(folder / "0.bmp")
    (folder / "x").rename(folder / "1.bmp")
    assert open_source(folder).fingerprint() != before


def test_a_copy_elsewhere_under_other_names_is_the_same_data(tmp_path, settled):
    folder = folder_of(tmp_path, [10, 20, 30])
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    for i in range(3):
        (copy / f"{i}.bmp").rename(copy / f"picture {i}.bmp")
    assert open_source(copy).fingerprint() == open_source(folder).fingerprint()


def test_what_is_remembered_is_not_read_again(tmp_path, settled, reads):
    folder = folder_of(tmp_path, range(20))
    first = open_source(folder).fingerprint()
    assert len(reads) == 20
    assert open_source(folder).fingerprint() == first
    assert len(reads) == 20
    bmp(folder / "7.bmp", 255)
    time.sleep(0.02)
    assert open_source(folder).fingerprint() != first
    assert reads[20:] == [str(folder / "7.bmp")]


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, reads):
    folder = folder_of(tmp_path, [1])
    open_source(folder).fingerprint()
    open_source(folder).fingerprint()
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["garbage", "folder", "absent"])
def test_nothing_fails_without_a_memory(tmp_path, settled, damage, monkeypatch):
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    folder = folder_of(tmp_path, [10, 20])
    expected = open_source(folder).fingerprint()
    place = cache_folder("identity") / "files.sqlite"
    assert place.is_file()
    place.unlink()
    if damage == "garbage":
        place.write_bytes(b"no database" * 1000)
    if damage == "folder":
        place.mkdir()
    assert open_source(folder).fingerprint() == expected
    if damage == "garbage":
        assert sqlite3.connect(place).execute("SELECT count(*) FROM facts").fetchone()[0] == 2


def test_a_file_that_cannot_be_read_counts_and_is_not_remembered(tmp_path, settled):
    folder = folder_of(tmp_path, [10])
    missing = str(folder / "none.bmp")
    assert file_digests([missing]) == [UNREADABLE]
    bmp(folder / "none.bmp", 3)
    assert file_digests([missing]) != [UNREADABLE]


def test_how_pictures_are_read_is_part_of_it(tmp_path):
    from lowzoo.data.reading.options import SourceOptions

    folder = folder_of(tmp_path, [10])
    turned, stored = open_source(folder), open_source(folder, options=SourceOptions(orientation="stored"))
    assert turned.fingerprint() != stored.fingerprint()


def test_parquet_whose_middle_changes_is_other_data(tmp_path, settled):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    def write(path, shade):
        pictures = []
        for value in [1] * 400 + [shade] + [1] * 400:
            image = np.full((16, 16, 3), value, np.uint8)
            pictures.append({"bytes": b"BM" + image.tobytes(), "path": None})
        parquet.write_table(pyarrow.table({"image": pictures}), path, compression="none", use_dictionary=False)

    write(tmp_path / "a.parquet", 7)
    write(tmp_path / "b.parquet", 8)
    assert (tmp_path / "a.parquet").stat().st_size == (tmp_path / "b.parquet").stat().st_size
    first, second = open_source(tmp_path / "a.parquet"), open_source(tmp_path / "b.parquet")
    assert first.fingerprint() != second.fingerprint()
    assert (first.encoded(400)[2], second.encoded(400)[2]) == (7, 8)


def test_labels_have_an_identity_of_their_own(tmp_path):
    bmp(tmp_path / "a" / "cat" / "1.bmp", 1)
    bmp(tmp_path / "a" / "dog" / "2.bmp", 2)
    bmp(tmp_path / "b" / "cat" / "1.bmp", 1)
    bmp(tmp_path / "b" / "cat" / "2.bmp", 2)
    first, second = open_source(tmp_path / "a"), open_source(tmp_path / "b")
    assert first.fingerprint() == second.fingerprint()
    assert first.labels_digest() != second.labels_digest()
