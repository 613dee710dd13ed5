"""`lowzoo data`: every number of the report on a folder with every trouble, and the page, sheet and JSON of it."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from lowzoo.base.errors import LowzooError
from lowzoo.cli.main import main
from lowzoo.inspect.alike import Groups, find_alike
from lowzoo.inspect.inspection import inspect
from lowzoo.inspect.page import to_html
from lowzoo.inspect.shown import choose
from lowzoo.inspect.words import findings, lines
from lowzoo.io.marks import HEAD_BYTES, is_own_png
from tests.inspect.pictures import jpeg, photos, troubled_folder


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    return troubled_folder(tmp_path_factory.mktemp("data") / "mine")


@pytest.fixture(scope="module")
def seen(troubled):
    return inspect(troubled, progress=False)


@pytest.fixture(scope="module")
def report(seen):
    return seen.report


def file(item):
    return item.name.rpartition("/")[2]


def test_splits_classes_and_what_was_left_out(report):
    train, validation = report.splits
    assert (train.name, train.pictures, train.readable) == ("train", 18, 15)
    assert (validation.name, validation.pictures, validation.readable) == ("validation", 5, 5)
    assert train.classes == {"cat": 8, "dog": 10}
    assert validation.classes == {"cat": 1, "dog": 2, "fish": 2}
    assert report.lacking == (("train", "validation", ("fish",)),)
    assert report.left_out == {"hidden": 1, "written by lowzoo": 1, ".txt": 1, "broken links": 1}
    assert report.files == 28
    assert any("stray.jpg" in line for line in report.found)
    assert any("links lead to folders" in line for line in report.found)


def test_formats_modes_and_sizes(report):
    train, validation = report.splits
    assert train.formats == {"JPEG": 7, "PNG": 7, "GIF": 1}
    modes = {"RGB": 9, "16-bit grey": 1, "CMYK": 1, "palette": 2, "grey": 1, "RGB with alpha": 1}
    assert train.modes == modes
    assert sum(train.modes.values()) == sum(train.formats.values()) == train.readable
    assert (train.turned, train.animated, train.small) == (1, 1, 3)
    # The turned picture is stored as 120 x 60 and seen as 60 x 120.
    assert (train.width.smallest, train.width.median, train.width.largest) == (40, 160, 160)
    assert (train.height.smallest, train.height.median, train.height.largest) == (30, 134, 134)
    assert train.shorter_sides == {"1 to 31 px": 1, "32 to 63 px": 1, "64 to 127 px": 1, "128 to 255 px": 12}
    assert train.aspects == {"upright": 1, "nearly square": 13, "lying": 1}
    assert (validation.width.largest, validation.height.largest) == (240, 200)
    assert "uint16: 0 to 4095" in train.intensity


def test_broken_constant_and_misnamed_pictures_are_named(report):
    assert {file(item) for item, _ in report.unreadable} == {"broken.jpg", "empty.jpg", "text.png"}
    assert all(reason for _, reason in report.unreadable)
    assert [file(item) for item in report.constant] == ["constant.png"]
    assert report.clipped == ()
    assert [(file(item), promised, found) for item, promised, found in report.misnamed] == [
        ("is_png.jpg", "JPEG", "PNG")
    ]


def test_copies_within_and_between_splits(report):
    train, validation = report.splits
    assert (train.copies, train.near_copies) == (2, 0)
    assert (validation.copies, validation.near_copies) == (0, 0)
    (leak,) = report.leaks
    assert (leak.split, leak.other, leak.exact, leak.near) == ("validation", "train", 1, 2)
    twins = {file(one): file(two) for one, two, _ in leak.pairs}
    assert twins == {"same.jpg": "copy.jpg", "mirrored.jpg": "caf\udce9.jpg", "resized.jpg": "is_png.jpg"}
    (conflict,) = report.conflicts
    assert conflict.kind == "exact"
    assert conflict.labels == ("cat", "dog")
    assert [file(item) for item in conflict.items] == ["other_label.jpg", "copy.jpg"]
    assert sorted((group.kind, len(group.items)) for group in report.groups) == [
        ("exact", 2),
        ("exact", 3),
        ("near", 2),
        ("near", 2),
    ]


def test_every_trouble_is_a_line(report):
    text = "\n".join(findings(report))
    for words in (
        "3 of 5 pictures of validation (60.0 %) are in train too, 1 byte for byte and 2 nearly",
        "1 group of alike pictures with different classes",
        "3 pictures cannot be read",
        "1 picture of one colour throughout",
        "is_png.jpg is PNG",
        "train lacks 1 class of validation: fish",
        "2 pictures of train (11.1 %) are copies",
        "3 pictures of train (16.7 %) would be enlarged to the model's 128 px",
    ):
        assert words in text
    assert list(lines(report))[-1].startswith("Next: lowzoo data "), "a run would stop at so many broken pictures"


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_page_stands_alone_and_escapes_names(seen):
    text = to_html(seen.report, choose(seen, progress=False))
    text.encode("utf-8")
    page = _Page()
    page.feed(text)
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not {"script", "link", "b", "iframe"} & set(page.tags)
    assert "http" not in text
    words = " ".join(page.text)
    assert "<b>&name.jpg" not in text
    for name in ("broken.jpg", "constant.png", "mirrored.jpg", "caf\\xe9.jpg", "unreadable"):
        assert name in words
    assert "prefers-color-scheme: dark" in text
    assert "cat: 8" in words  # of all its pictures, broken ones included
    assert 'name="viewport"' in text


def test_command_writes_json_page_and_sheet(troubled, report, tmp_path, capsys):
    out, sheet = tmp_path / "report.html", tmp_path / "sheet.png"
    with pytest.raises(SystemExit) as ended:
        main(["data", str(troubled), "--no-features", "--json", "--out", str(out), "--sheet", str(sheet)])
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pictures"] == 23
    assert document["features"] is None
    assert [split["near_copies"] for split in document["splits"]] == [None, None]
    assert [(leak["exact"], leak["near"]) for leak in document["leaks"]] == [(1, 0)]
    assert document["splits"][0]["modes"] == dict(report.splits[0].modes)
    assert any("caf\\xe9.jpg" in item["name"] for group in document["groups"] for item in group["items"]) is False
    assert is_own_png(sheet.read_bytes()[:HEAD_BYTES])
    with Image.open(sheet) as drawn:
        assert drawn.width > 1000
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_outputs_are_not_looked_at_again(tmp_path, capsys):
    for place, photo in enumerate(photos()[:4]):
        (tmp_path / str(place % 2)).mkdir(exist_ok=True)
        (tmp_path / str(place % 2) / f"{place}.jpg").write_bytes(jpeg(photo))
    found = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(
                ["data", str(tmp_path), "--json", "--out", str(tmp_path / "r.html"), "--sheet", str(tmp_path / "s.png")]
            )
        assert ended.value.code == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [document["pictures"] for document in found] == [4, 4]
    assert found[1]["left_out"] == {"written by lowzoo": 1, ".html": 1}
    assert found[0]["groups"] == found[1]["groups"] == []


def test_text_says_that_there_is_no_problem(tmp_path, capsys):
    for place, photo in enumerate(photos()[:4]):
        (tmp_path / str(place % 2)).mkdir(exist_ok=True)
        (tmp_path / str(place % 2) / f"{place}.jpg").write_bytes(jpeg(photo))
    with pytest.raises(SystemExit):
        main(["data", str(tmp_path)])
    text = capsys.readouterr().out
    assert "No problem found" in text
    assert "Found: 4 files, 4 pictures" in text
    assert re.search(r"cosine of rob_vit_tiny\S* features at \d+ px at least 0\.\d+", text)


def test_wrong_words_are_refused_in_a_line(tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(jpeg(photos()[0]))
    for words, message in (
        (["--split", "tset"], "has no split 'tset'"),
        (["--out", "r.pdf"], "r.pdf does not end in .html"),
        (["--orientation", "up"], "unknown orientation 'up'"),
        (["--intensity", "5"], "intensity of '5' is impossible"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["data", str(tmp_path), *words])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_a_flat_folder_of_broken_files_is_reported(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"nothing")
    report = inspect(tmp_path, progress=False).report
    assert len(report.unreadable) == 2
    # Broken files with the same bytes are copies all the same.
    assert report.splits[0].copies == 1
    assert report.splits[0].width is None
    assert report.splits[0].classes is None
    assert "2 pictures cannot be read" in "\n".join(lines(report))


def test_a_class_of_broken_pictures_alone_is_said(tmp_path):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(photos()[0]) if name[0] == "b" else b"nothing")
    shown = choose(inspect(tmp_path, model=None, progress=False), progress=False)
    assert shown.sections[-1].remark == "1 classes have no picture that can be read"


def test_a_table_of_one_split_is_no_leak(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [{"bytes": jpeg(photo), "path": None} for photo in photos()[:4]]
    path = tmp_path / "validation.parquet"
    parquet.write_table(pyarrow.table({"image": rows, "label": [0, 0, 1, 1]}), path)
    report = inspect(path, model=None, progress=False).report
    assert [(split.name, split.pictures) for split in report.splits] == [("validation", 4)]
    assert report.leaks == ()
    assert any("belong to another split too" in line for line in report.found)


def test_missing_split_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(photos()[0]))
    with pytest.raises(LowzooError, match="has no split 'test'"):
        inspect(tmp_path, splits=["test"])


def test_groups_join_in_any_order():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 300, 200), random.integers(0, 300, 200)
    groups = Groups(300)
    for start in range(0, 200, 17):
        groups.join(first[start : start + 17], second[start : start + 17])
    parent = list(range(300))
    changed = True
    while changed:
        changed = False
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            least = min(parent[a], parent[b])
            changed |= parent[a] != least or parent[b] != least
            parent[a] = parent[b] = least
    assert groups.roots().tolist() == parent


def test_pairs_of_all_blocks_agree_with_all_pairs(monkeypatch):
    monkeypatch.setattr("lowzoo.inspect.alike._ROWS", 8)
    monkeypatch.setattr("lowzoo.inspect.alike._COLUMNS", 12)
    monkeypatch.setattr("lowzoo.inspect.alike._PAIRS", 5)
    random = np.random.default_rng(1)
    count = 60
    kind = random.integers(0, 12, count)
    features = torch.from_numpy(random.normal(size=(12, 16))[kind] + 0.02 * random.normal(size=(count, 16))).float()
    base = random.integers(0, 255, (12, 16, 16))
    small = base[kind].astype(np.uint8)
    small[::2] = small[::2, :, ::-1]  # mirrored
    splits = random.integers(0, 3, count)
    digests = [bytes([i]) for i in range(count)]
    digests[7], digests[9] = digests[3], b""
    comparable = np.ones(count, bool)
    comparable[9] = False
    kind[7] = kind[3]
    found = find_alike(digests, splits, features, small, comparable, progress=False)
    for i in range(count):
        members = [j for j in range(count) if j == i or (i != 9 and j != 9 and kind[i] == kind[j])]
        assert found.near[i] == min(members)
        for split in range(3):
            others = [j for j in members if j != i and splits[j] == split]
            assert (found.twin[i, split] >= 0) == bool(others)
            if others:
                assert found.twin[i, split] in others
                same = digests[int(found.twin[i, split])] == digests[i]
                assert (found.cosine[i, split] == 1) == same
    assert found.exact[7] == 3
    assert found.exact[9] == 9


def test_many_alike_pictures_and_rare_classes_are_counted(tmp_path):
    # Ten re-encodings of one picture are one group, and one class has eleven times the pictures of the other.
    photo = photos()
    for quality in range(50, 100, 5):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"{quality}.jpg").write_bytes(jpeg(photo[0], quality))
    (tmp_path / "many" / "other.jpg").write_bytes(jpeg(photo[1]))
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "one.jpg").write_bytes(jpeg(photo[2]))
    report = inspect(tmp_path, progress=False).report
    (group,) = report.groups
    assert (group.kind, len(group.items), group.cosine > 0.93) == ("near", 10, True)
    assert (report.splits[0].copies, report.splits[0].near_copies) == (0, 9)
    assert report.splits[0].imbalance == 11
    assert any("differ 11-fold: many has 11 pictures, few 1" in line for line in findings(report))


def test_stored_orientation_counts_sizes_as_stored(tmp_path):
    from lowzoo.data.reading.options import SourceOptions

    exif = Image.Exif()
    exif[0x0112] = 8
    (tmp_path / "a.jpg").write_bytes(jpeg(photos()[0].resize((80, 40)), exif=exif))
    for orientation, size in (("exif", (40, 80)), ("stored", (80, 40))):
        (split,) = inspect(tmp_path, SourceOptions(orientation=orientation), model=None, progress=False).report.splits
        assert (split.width.median, split.height.median, split.turned) == (*size, 1)
