"""The index of a tar: every dialect and name, what belongs to a sample, and whatever damage there is."""

import os
import tarfile

import pytest

from lowzoo.data.pixels.decode import BadImage, decode_rgb
from lowzoo.data.source import open_source
from lowzoo.data.stores import tar_index
from lowzoo.data.stores.tar_index import index_tar
from tests.helpers.data import add, png, shades, write_tar


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("prefix", ["", "cat/", "a/" * 60])
def test_every_dialect_and_length_of_name(tmp_path, form, prefix):
    write_tar(tmp_path / "a.tar", range(5), form=form, prefix=prefix)
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


def damaged_set(folder, damage):
    """Five shards of ten pictures; `damage` gets the bytes of the third."""
    for shard in range(5):
        write_tar(folder / f"s-{shard}.tar", range(10 * shard, 10 * shard + 10))
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


def test_the_scan_reads_headers_alone(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for index in range(50):
            add(archive, f"{index:06}.jpg", bytes(100_000))
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *words: read.append(real(*words)) or read[-1])
    index = index_tar(tmp_path / "a.tar")
    assert len(index) == 50
    assert index.sizes.tolist() == [100_000] * 50
    # A header a picture, and the zeros that fill the last 10,240 bytes.
    assert sum(map(len, read)) <= 512 * (50 + 20)


def test_it_tells_how_far_it_is_also_through_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_index, "_TELLING", 2_000)
    write_tar(tmp_path / "a.tar", range(20))
    file = tmp_path / "a.tar"
    length = file.stat().st_size
    whole: list[int] = []
    index_tar(file, whole.append)
    assert sum(whole) == length
    assert len(whole) > 5
    content = bytearray(file.read_bytes())
    content[512:-512] = b"\1" * (length - 1024)
    file.write_bytes(content)
    damaged: list[int] = []
    assert index_tar(file, damaged.append).damage
    assert sum(damaged) == length
    assert len(damaged) > 5
