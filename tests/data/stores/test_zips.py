"""Zip archives: arranged like folders, read by place, and whatever is wrong with them."""

import multiprocessing
import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.source import open_set, open_source
from lowzoo.data.stores import zips
from tests.helpers.data import png, read_pickled, shades


def write(path, *names, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for shade, name in enumerate(names):
            archive.writestr(name, png(shade))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_arranged_like_a_folder(tmp_path, method):
    names = ["s/train/cat/1.jpg", "s/train/dog/é.JPG", "s/val/cat/noext", "__MACOSX/._1.jpg", "s/notes.md", "s/train/"]
    images = open_set(write(tmp_path / "a.zip", *names, method=method))
    assert images.splits == ("train", "validation")
    train = images.open("train")
    assert (shades(train), train.labels.tolist(), train.class_names) == ([0, 1], [0, 1], ("cat", "dog"))
    assert shades(images.open("validation")) == [2]
    assert train.where(1) == f"{tmp_path}/a.zip:s/train/dog/é.JPG"
    assert dict(train.found.left_out) == {"hidden": 1, ".md": 1}


def test_threads_forks_and_fresh_processes(tmp_path):
    source = open_source(write(tmp_path / "a.zip", *[f"{i}.png" for i in range(200)]))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.encoded, range(200))) == [png(i) for i in range(200)]
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as processes:
            assert processes.apply(read_pickled, (pickle.dumps(source), 150)) == png(150)


def test_names_of_windows_and_old_code_pages(tmp_path):
    write(tmp_path / "a.zip", "cat\\1.jpg", "cat\\2.jpg", "dog\\3.jpg")
    assert open_source(tmp_path / "a.zip").class_names == ("cat", "dog")
    # Without the mark for UTF-8 a name is in code page 437, where byte 0x81 is ü.
    write(tmp_path / "b.zip", "f_r.png")
    (tmp_path / "b.zip").write_bytes((tmp_path / "b.zip").read_bytes().replace(b"f_r.png", b"f\x81r.png"))
    source = open_source(tmp_path / "b.zip")
    assert source.where(0).endswith("b.zip:für.png")
    assert shades(source) == [0]


def test_many_members_and_large_archives_by_zip64(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(3):
            with archive.open(f"{i}.png", "w", force_zip64=True) as member:
                member.write(png(i))
    assert shades(open_source(tmp_path / "a.zip")) == [0, 1, 2]


def test_encrypted_pictures_are_refused_by_name(tmp_path):
    data = bytearray(write(tmp_path / "a.zip", "secret.png").read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(LowzooError, match=r"1 pictures in .* are encrypted: secret\.png"):
        open_source(tmp_path / "a.zip")


def test_a_bomb_and_a_lie_about_the_size_are_bad_images(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10_000_000))
        archive.writestr("good.png", png(1))
    source = open_source(tmp_path / "a.zip")
    monkeypatch.setattr(zips, "_MOST_BYTES", 1_000_000)
    with pytest.raises(BadImage, match=r"bomb\.png .* would unpack to 10000000 bytes"):
        source.encoded(0)
    assert source.encoded(1) == png(1)
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(data.replace(struct.pack("<I", 10_000_000), struct.pack("<I", 100)))
    with pytest.raises(BadImage, match="the archive is damaged"):
        open_source(tmp_path / "b.zip").encoded(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"PK\3\4 and no more"), "as a zip archive"),
        (lambda path: path.write_bytes(write(path, "1.png", "2.png").read_bytes()[:100]), "as a zip archive"),
        (lambda path: write(path), r"no picture in .* \(it is empty\)"),
        (lambda path: write(path, "a.txt", "b.txt"), r"no picture in .*2 \.txt"),
    ],
    ids=["no archive", "cut off", "empty", "texts"],
)
def test_refused_at_the_door(tmp_path, make, message):
    make(tmp_path / "a.zip")
    with pytest.raises(LowzooError, match=message) as caught:
        open_source(tmp_path / "a.zip")
    assert "\n" not in str(caught.value)


def test_a_damaged_member_is_one_bad_image(tmp_path):
    path = write(tmp_path / "a.zip", "1.png", "2.png", method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    assert shades(open_source(path)) == [None, 1]


def test_a_folder_of_archives_says_to_name_one(tmp_path):
    write(tmp_path / "a.zip", "1.png")
    with pytest.raises(LowzooError, match=r"left out: 1 \.zip") as caught:
        open_source(tmp_path)
    assert caught.value.remedy == f"Name the archive itself: {tmp_path}/a.zip"
