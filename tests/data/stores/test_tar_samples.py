"""What belongs together in a tar: dotted names, companions, labels, links, folders, and members of other kinds."""

import io
import tarfile

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_set, open_source
from lowzoo.data.stores import unpacked
from tests.helpers.data import add, png, shades


def tar(path, *members, mode="w"):
    """Members are names, with shades in their order, or (name, bytes)."""
    with tarfile.open(path, mode) as archive:
        for shade, member in enumerate(members):
            name, data = (member, png(shade)) if isinstance(member, str) else member
            add(archive, name, data)
    return path


def link(name, target, kind=tarfile.LNKTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def members(source):
    return [source.where(i).split(".tar:")[1] for i in range(len(source))]


def test_dotted_names_keep_their_pictures(tmp_path):
    names = [f"{kind}.{number}.jpg" for kind in ("cat", "dog") for number in range(3)]
    names += ["a.b.c.jpeg", "Mr. Whiskers.JPG", "cat.jpg", "scan.2024-01-05.png", "x.left.jpg", "x.right.jpg"]
    source = open_source(tar(tmp_path / "a.tar", *names))
    assert members(source) == names
    assert shades(source) == list(range(12))
    assert source.found.left_out == ()


def test_companions_and_second_pictures_are_counted(tmp_path):
    names = [f"{i:04}{end}" for i in range(4) for end in (".seg.png", ".jpg", ".depth.map.png", ".png", ".7.jpg")]
    source = open_source(tar(tmp_path / "a.tar", *names))
    assert members(source) == [f"{i:04}{end}" for i in range(4) for end in (".jpg", ".7.jpg")]
    assert dict(source.found.left_out) == {
        "further pictures of samples (.seg.png)": 4,
        "further pictures of samples (.map.png)": 4,
        "further pictures of samples (.png)": 4,
    }
    assert source.found.files == 20


def test_the_picture_is_of_one_kind_throughout_whatever_the_order(tmp_path):
    source = open_source(tar(tmp_path / "a.tar", "1.png", "1.jpg", "2.jpg", "2.png", "3.png", "3.jpg"))
    assert members(source) == ["1.jpg", "2.jpg", "3.jpg"]


def test_labels_follow_the_same_keys_wherever_they_stand(tmp_path):
    labels = [("cat.1.cls", b"4"), ("cat.2.json", b'{"label": 5.0}'), ("x.cls", b"6"), ("gone.cls", b"7")]
    names = ["cat.1.jpg", "cat.2.jpg", "x.left.jpg", "x.right.jpg", "y.jpg"]
    source = open_source(tar(tmp_path / "a.tar", *labels, *names))
    assert source.labels.tolist() == [4, 5, 6, 6, -1]
    assert dict(source.found.left_out) == {"label files": 3, "label files without a picture": 1}
    assert any("1 pictures" in note and "no class" in note for note in source.found.notes)


def test_class_folders_and_splits_in_a_tar(tmp_path):
    path = tar(tmp_path / "a.tar", "set/train/cat/1.jpg", "set/train/dog/2.jpg", "./set/val/cat/3.jpg", "set/readme.md")
    images = open_set(path)
    assert images.splits == ("train", "validation")
    assert [shades(images.open(split)) for split in images.splits] == [[0, 1], [2]]
    assert images.open("train").labels.tolist() == [0, 1]
    assert images.open("train").class_names == ("cat", "dog")
    assert dict(images.open("train").found.left_out) == {".md": 1}


def test_members_of_every_kind_are_read_or_counted(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for shade, name in enumerate(["./a/1.JPG", "/b/2.png", "../3.gif", "猫/4", "5.heic"]):
            add(archive, name, png(shade))
        for name in ("notes.TXT", ".hidden.jpg", "__MACOSX/._1.jpg", "Makefile"):
            add(archive, name, b"words")
        archive.addfile(link("hard.jpg", "/b/2.png"))
        archive.addfile(link("a/soft.jpg", "../b/2.png", tarfile.SYMTYPE))
        archive.addfile(link("evil.jpg", "/etc/passwd", tarfile.SYMTYPE))
        archive.addfile(link("round.jpg", "round.jpg", tarfile.SYMTYPE))
        pipe = tarfile.TarInfo("pipe.jpg")
        pipe.type = tarfile.FIFOTYPE
        archive.addfile(pipe)
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        sparse = tarfile.TarInfo("sparse.jpg")
        sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 4
        archive.addfile(sparse, io.BytesIO(b"abcd"))
        add(archive, "last.png", png(9))
    source = open_source(tmp_path / "a.tar")
    assert members(source) == ["a/1.JPG", "b/2.png", "3.gif", "猫/4", "5.heic", "hard.jpg", "a/soft.jpg", "last.png"]
    assert shades(source) == [0, 1, 2, 3, 4, 1, 1, 9]
    assert dict(source.found.left_out) == {
        ".txt": 1,
        "hidden": 2,
        "without an extension": 1,
        "broken links": 2,
        "pipes, sockets or devices": 1,
        "sparse files": 1,
    }


def test_a_name_that_comes_twice_is_read_twice_and_said(tmp_path):
    source = open_source(tar(tmp_path / "a.tar", "1.png", ("1.cls", b"0"), "1.png", ("1.cls", b"1")))
    assert shades(source) == [0, 2]
    assert source.labels.tolist() == [0, 1]
    assert any("the name of another one" in note for note in source.found.notes)


@pytest.mark.parametrize(
    ("suffix", "mode"), [("tar.gz", "w:gz"), ("TGZ", "w:gz"), ("tar.bz2", "w:bz2"), ("txz", "w:xz")]
)
def test_compressed_tars_are_unpacked_once_by_content(tmp_path, cache, suffix, mode):
    path = tar(tmp_path / f"a.{suffix}", "cat/1.jpg", "dog/2.jpg", mode=mode)
    source = open_source(path)
    assert shades(source) == [0, 1]
    assert source.class_names == ("cat", "dog")
    assert source.where(0) == f"{path}:cat/1.jpg"
    (unpacked,) = (cache / "tars").glob("*.tar")
    before = unpacked.stat().st_mtime_ns
    open_source(path.rename(tmp_path / f"moved.{suffix}"))
    assert [file.stat().st_mtime_ns for file in (cache / "tars").glob("*.tar")] == [before]


def test_the_index_follows_the_content_not_size_and_time(tmp_path):
    import os

    path = tar(tmp_path / "a.tar", "1.jpg", "2.jpg")
    status = path.stat()
    first = open_source(path)
    tar(path, "2.jpg", "b.gif")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    second = open_source(path)
    assert members(second) == ["2.jpg", "b.gif"]
    assert second.fingerprint() != first.fingerprint()


def test_no_room_for_a_compressed_tar_leaves_nothing_behind(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(unpacked, "_RESERVE", 1 << 60)
    path = tar(tmp_path / "a.tar.gz", "1.jpg", mode="w:gz")
    with pytest.raises(LowzooError, match="the disk is full: cannot unpack"):
        open_source(path)
    assert list((cache / "tars").iterdir()) == []


def test_a_class_in_json_of_another_encoding_is_named_and_counted(tmp_path):
    document, other = '{"label": "caf\u00e9"}'.encode("latin-1"), '{"caption": "caf\u00e9"}'.encode("latin-1")
    labelled = [(f"{n}.json", b'{"label": 1}') for n in range(2)]
    path = tar(
        tmp_path / "a.tar", "0.png", "1.png", "2.png", "3.png", *labelled, ("2.json", document), ("3.json", other)
    )
    source = open_source(path)
    notes, left_out = " ".join(source.found.notes), source.found.left_out
    assert "1 labels cannot be read: " in notes
    assert "2.json is no text in UTF-8" in notes
    assert ("label files that are no text", 1) in left_out
