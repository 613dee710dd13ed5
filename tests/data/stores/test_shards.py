"""The ways of naming several tars, and what is refused at the door."""

import gzip
import os

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_source
from tests.helpers.data import shades, write_tar


def test_ways_of_naming_tars(tmp_path, monkeypatch):
    for shard in range(8, 12):
        write_tar(tmp_path / f"d/s-{shard:03}.tar", [shard])
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


@pytest.mark.parametrize(
    ("make", "word", "message"),
    [
        (lambda d: None, "s-{00..03}.tar", "4 of 4 shards of .* do not exist, the first is .*s-00.tar"),
        (lambda d: None, "*.tar", "no file matches"),
        (lambda d: (d / "l.txt").write_text("a.tar\nb.jpg\n"), "l.txt", "names 'b.jpg', which is no tar file"),
        (lambda d: (d / "l.txt").write_text("a.tar\n"), "l.txt", "1 of 1 shards"),
        (lambda d: (d / "a.tar").write_bytes(b""), "a.tar", "no picture in 1 tars: .*a.tar it is empty"),
        (lambda d: (d / "a.tar").write_bytes(os.urandom(5000)), "a.tar", "no tar header at byte 0"),
        (lambda d: (d / "a.tar").write_bytes(gzip.compress(os.urandom(9000))[:5000]), "a.tar", "it is cut off"),
        (lambda d: write_tar(d / "a.tar", []), "a.tar", "no picture in 1 tars"),
        (lambda d: None, "nowhere://x/{0..3}.tar", "is an address of an unknown kind"),
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
