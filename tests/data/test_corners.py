"""Where two stores, options or tools meet: what is odd there is refused or said."""

import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from lowzoo.data.pixels.channels import decode_channels
from lowzoo.data.pixels.decode import BadImage, decode_rgb
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.source import ImageSource, open_set, open_source
from lowzoo.data.stores.folder import FolderReader
from tests.helpers.data import add, png, write_tar


def picture(path, shade=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(shade))


def deep_tiff(colours, orientation):
    """An uncompressed TIFF of 16-bit colours, which Pillow cannot write."""
    height, width, _ = colours.shape
    pixels = colours.astype("<u2").tobytes()
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 0)]
    tags += [(274, 3, 1, orientation), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(pixels))]
    bits = 8 + 2 + 12 * len(tags) + 4
    places = {258: bits, 273: bits + 6}
    entries = b"".join(
        struct.pack("<HHI", tag, kind, count)
        + (struct.pack("<I", places[tag]) if tag in places else struct.pack("<I", value))
        for tag, kind, count, value in tags
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<3H", 16, 16, 16) + pixels


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_deep_tiff_is_turned_once(orientation):
    pytest.importorskip("cv2")
    colours = np.random.default_rng(0).integers(0, 65536, (4, 6, 3), dtype=np.uint16)
    turned = {1: colours, 3: colours[::-1, ::-1], 6: np.rot90(colours, -1), 8: np.rot90(colours)}[orientation]
    found = decode_rgb(deep_tiff(colours, orientation), "x.tif")
    assert found.shape == turned.shape
    assert np.abs(found - turned / 257).max() <= 1


def test_no_other_program_is_asked_for_bands():
    with pytest.raises(BadImage, match="no known format of bands"):
        decode_channels(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "x.png", 4)


def test_every_tar_of_a_folder_is_read_or_said(tmp_path):
    write_tar(tmp_path / "a.tar", range(3))
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        for shade in range(5):
            add(archive, f"{shade:06}.png", png(shade + 10))
            add(archive, f"{shade:06}.cls", b"1")
    assert len(open_source(tmp_path)) == 8


def test_archives_beside_split_folders_are_said(tmp_path):
    write_tar(tmp_path / "train" / "a.tar", range(3))
    write_tar(tmp_path / "val" / "a.tar", range(3, 6))
    write_tar(tmp_path / "more.tar", range(6, 9))
    picture(tmp_path / "loose.png")
    notes = " ".join(open_set(tmp_path).open("train").found.notes)
    assert "1 .tar" in notes
    assert "1 .png" in notes


def test_tables_of_sub_folders_are_said(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pyarrow.table({"image": [{"bytes": png(1), "path": None}]})
    parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "more").mkdir()
    parquet.write_table(table, tmp_path / "more" / "b.parquet")
    source = open_source(tmp_path)
    assert len(source) == 1
    assert any("left out" in note and "1 .parquet" in note for note in source.found.notes)


def test_a_list_with_splits_keeps_its_class_folders(tmp_path):
    for i, name in enumerate(("cats/1.png", "dogs/2.png", "cats/3.png", "dogs/4.png")):
        picture(tmp_path / name, i)
    (tmp_path / "l.csv").write_text("path,split\ncats/1.png,train\ndogs/2.png,train\ncats/3.png,val\ndogs/4.png,val\n")
    source = open_source(tmp_path / "l.csv")
    assert source.class_names == ("cats", "dogs")
    assert source.labels.tolist() == [0, 1]


def test_the_lines_of_another_split_are_not_matched_by_name(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / split / "0.png")
        picture(tmp_path / split / "1.png")
    file = tmp_path / "labels.csv"
    file.write_text("path,label\ntrain/0.png,cat\ntrain/1.png,dog\nval/0.png,dog\nval/1.png,cat\n")
    source = open_source(tmp_path / "train", options=SourceOptions(labels=file))
    assert [source.class_names[label] for label in source.labels] == ["cat", "dog"]
    file.write_text("path,label\nval/0.png,dog\nval/1.png,cat\n")
    source = open_source(tmp_path / "train", options=SourceOptions(labels=file))
    assert any("matched by the names of files alone" in note for note in source.found.notes)


def test_sizes_that_an_archive_only_states_take_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0.png", png(1))
        archive.writestr("1.png", png(2))
    source = open_source(tmp_path / "a.zip")
    reader = source.reader
    reader.packed_sizes[0] = 2**60
    with pytest.raises(BadImage):
        source.encoded(0)
    assert source.encoded(1) == png(2)


def test_numbered_classes_that_the_other_source_lacks_are_none(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png", i)
    reader = FolderReader.of(tmp_path, ["0.png", "1.png", "2.png"])
    bank = ImageSource("bank", reader, np.array([0, 1, 0]))
    queries = ImageSource("queries", reader, np.array([0, 1, 7]))
    assert queries.numbered_like(bank).labels.tolist() == [0, 1, -1]


def test_what_is_measured_without_opencv_is_measured_again_with_it(tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    from lowzoo.data import measure
    from lowzoo.data.pixels import decode

    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    ramp = np.linspace(0, 1, 300).reshape(10, 10, 3)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i, top in enumerate((4000, 1000)):
            add(archive, f"{i}.png", cv2.imencode(".png", (ramp * top).astype(np.uint16))[1].tobytes())
    with monkeypatch.context() as without:
        for module in (decode, measure):
            without.setattr(module, "opencv", lambda: None)
        with pytest.raises(BadImage, match="need OpenCV"):
            open_source(tmp_path / "a.tar").pixels(0)
    source = open_source(tmp_path / "a.tar")
    assert abs(int(source.pixels(1).max()) - 62) <= 1


def test_bytes_of_nothing_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    buffer = io.BytesIO()
    Image.new("L", (3, 3), 5).save(buffer, "PNG")
    (tmp_path / "b.png").write_bytes(buffer.getvalue())
    with pytest.raises(BadImage, match="it is empty"):
        open_source(tmp_path).pixels(0)
