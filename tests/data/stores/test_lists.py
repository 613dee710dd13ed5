"""Lists of pictures, a labels file beside a folder, and a single picture."""

import zipfile

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.source import open_set, open_source
from tests.helpers.data import png, shades


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(6):
        (tmp_path / f"photos/my {i}.png").write_bytes(png(i))
    return tmp_path


def listed(path, text, **options):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_set(path, SourceOptions(**options))


@pytest.mark.parametrize(
    ("name", "text", "labels", "classes"),
    [
        ("a.txt", "photos/my 1.png\nphotos/my 2.png\n", None, None),
        ("b.txt", "# two\nphotos/my 1.png 7\n\nphotos/my 2.png 5\n", [7, 5], None),
        ("c.txt", "photos/my 1.png\tgolden retriever\r\nphotos/my 2.png\tcat\r\n", [1, 0], ("cat", "golden retriever")),
        ("d.csv", "photos/my 1.png,dog\nphotos/my 2.png,cat\n", [1, 0], ("cat", "dog")),
        ("e.csv", "filename;class\nphotos/my 1.png;dog\nphotos/my 2.png;cat\n", [1, 0], ("cat", "dog")),
        ("f.tsv", "label\tpath\n1.0\tphotos/my 1.png\n\tphotos/my 2.png\n", [1, -1], None),
        ("g.csv", ",path,label\n0,photos/my 1.png,dog\n1,photos/my 2.png,dog\n", [0, 0], ("dog",)),
        ("h.csv", '"photos\\my 1.png","a, b"\n"photos\\my 2.png","c"\n', [0, 1], ("a, b", "c")),
        ("i.CSV", "\ufeffpath,label\nphotos/my 1.png,x\nphotos/my 2.png,x\n".encode("utf-16"), [0, 0], ("x",)),
    ],
)
def test_ways_of_writing_a_list(photos, name, text, labels, classes):
    source = listed(photos / name, text).open("train")
    assert shades(source) == [1, 2]
    assert (None if source.labels is None else source.labels.tolist()) == labels
    assert source.class_names == classes


def test_columns_and_splits_of_a_table(photos):
    text = "split,before,after,kind\ntrain,photos/my 0.png,photos/my 1.png,b\nval,photos/my 2.png,photos/my 3.png,a\n"
    with pytest.raises(LowzooError, match=r"several columns of .* hold paths: before, after. Choose one"):
        listed(photos / "a.csv", text)
    with pytest.raises(LowzooError, match=r"has no column 'x', only: split, before, after, kind"):
        listed(photos / "a.csv", text, image_column="x")
    images = listed(photos / "a.csv", text, image_column="after", label_column="kind")
    assert images.splits == ("train", "validation")
    assert [shades(images.open(split)) for split in images.splits] == [[1], [3]]
    assert images.open("validation").class_names == ("a", "b")
    assert "a.csv: splits are taken from the column 'split'" in images.open("train").found.notes


def test_what_is_not_there_is_counted_and_named(photos):
    source = listed(photos / "a.txt", "photos/my 1.png\ngone.png\nphotos/my 1.png\nb.txt\na.txt\n").open("train")
    assert shades(source) == [1, 1]
    assert dict(source.found.left_out) == {"paths that do not exist": 2, ".txt": 1}
    assert "2 of 5 paths in a.txt do not exist: gone.png, b.txt" in source.found.notes
    assert any("more than once" in note for note in source.found.notes)
    with pytest.raises(LowzooError, match=r"none of the paths in .* is a picture: 1 of its 1 paths do not exist"):
        listed(photos / "b.txt", "gone.png\n")
    with pytest.raises(LowzooError, match="names no picture"):
        listed(photos / "b.txt", "\n# nothing\n")
    with pytest.raises(LowzooError, match=r"line 1 of .* is no text"):
        listed(photos / "b.txt", b"f\xfcr.png\n")


def test_class_folders_of_a_list_without_classes(photos):
    for name in ("cat/1.png", "dog/2.png"):
        (photos / name).parent.mkdir()
        (photos / name).write_bytes(png(9))
    source = listed(photos / "a.txt", f"cat/1.png\n{photos}/dog/2.png\n").open("train")
    assert source.class_names == ("cat", "dog")


def test_a_labels_file_beside_a_flat_folder(photos):
    (photos / "l.csv").write_text(
        "path,label\nmy 0.png,cat\nphotos/my 1.png,dog\n./my 2.png,dog\nmy 3,cat\ngone.png,cat\n"
    )
    source = open_source(photos / "photos", "train", SourceOptions(labels=photos / "l.csv"))
    assert source.labels.tolist() == [0, 1, 1, 0, -1, -1]
    assert source.class_names == ("cat", "dog")
    notes = "\n".join(source.found.notes)
    assert "1 names of l.csv are not among the pictures: gone.png" in notes
    assert "2 pictures have no class in l.csv: my 4.png, my 5.png" in notes


def test_a_labels_file_of_an_archive_with_splits(photos):
    with zipfile.ZipFile(photos / "a.zip", "w") as archive:
        for i, name in enumerate(["train/1.png", "train/2.png", "val/1.png"]):
            archive.writestr(name, png(i))
    (photos / "l.txt").write_text("train/1.png 3\n2.png 4\n1.png 5\nval/1.png 4\n")
    images = open_set(photos / "a.zip", SourceOptions(labels=photos / "l.txt"))
    assert [images.open(split).labels.tolist() for split in images.splits] == [[3, 4], [4]]
    assert any("fit several pictures" in note for note in images.open("train").found.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other.png 1\n", "nothing that .* names is among the 6 pictures"),
        ("my 1.png 1\nphotos/my 1.png 2\n", "gives my 1.png the classes '1' and '2'"),
        ("my 1.png\n", "names no classes"),
    ],
)
def test_a_labels_file_that_cannot_be_meant(photos, text, message):
    (photos / "l.txt").write_text(text)
    with pytest.raises(LowzooError, match=message):
        open_source(photos / "photos", "train", SourceOptions(labels=photos / "l.txt"))


def test_options_without_an_effect_are_refused(photos):
    with pytest.raises(LowzooError, match="has no use for --image-column"):
        open_source(photos / "photos", "train", SourceOptions(image_column="x"))
    with pytest.raises(LowzooError, match="has no use for --labels"):
        open_source(None, "train", SourceOptions(labels=photos / "l.txt"))
    with pytest.raises(LowzooError, match="plain text, which has no columns"):
        listed(photos / "a.txt", "photos/my 1.png\n", label_column="x")


def test_one_picture_is_a_set_of_one(photos):
    source = open_source(photos / "photos/my 3.png")
    assert shades(source) == [3]
    assert source.labels is None
    (photos / "noext").write_bytes(png(7))
    assert shades(open_source(photos / "noext")) == [7]
