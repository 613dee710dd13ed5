"""Text files as editors of all systems write them."""

import codecs
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.io.text_file import Line, decode_text, distinct, read_lines, read_text

WORDS = ["Katze", "Hündin", "猫"]
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("blank", ["", " ", " \t", "\u00a0"])
@pytest.mark.parametrize(
    ("encoding", "marked"), [*((name, True) for name in MARKED), *((name, False) for name in list(MARKED)[:3])]
)
def test_words_are_the_same_however_they_are_saved(
    encoding: str, marked: bool, blank: str, end: str, tmp_path: Path
) -> None:
    path = tmp_path / "words.txt"
    text = "".join(f"{word}{blank}{end}" for word in [*WORDS, "", ""])
    path.write_bytes((MARKED[encoding] if marked else b"") + text.encode(encoding))
    assert read_lines(path, "words", "") == [Line(number, word) for number, word in enumerate(WORDS, 1)]


def test_line_numbers_count_blank_lines_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"# words\r\n\r\ncat\r\n  # more\r\ndog")
    assert read_lines(path, "words", "", comment="#") == [(3, "cat"), (5, "dog")]
    assert [line.number for line in read_lines(path, "words", "")] == [1, 3, 4, 5]


def test_two_marked_files_in_one_leave_no_mark_in_a_word(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"cat\n" + codecs.BOM_UTF8 + b"dog\n")
    assert [line.text for line in read_lines(path, "words", "")] == ["cat", "dog"]


def test_a_separator_within_a_name_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("a\u2028b\nc\x1dd\n", encoding="utf-8")
    assert [line.text for line in read_lines(path, "words", "")] == ["a\u2028b", "c\x1dd"]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"cat\ndog\nH\xfcndin\n", r"line 3 of words\.txt .*0xfc"),
        (b"cat\r\nd\xe9j\xe0\r\n", r"line 2 of words\.txt .*0xe9"),
        (b"\x89PNG\r\n\x1a\n", "line 1"),
        (b"ab\0\0cd", "zero byte"),
        (codecs.BOM_UTF16_LE + b"a\0b", "line 1"),
    ],
)
def test_other_encodings_are_refused_by_line(data: bytes, place: str) -> None:
    with pytest.raises(LowzooError, match=place) as raised:
        decode_text(data, "words.txt")
    assert raised.value.remedy == "Save it as UTF-8"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(LowzooError, match=r"cannot read .* as words") as raised:
            read_text(path, "words", "Name words")
        assert raised.value.remedy == "Name words"


def test_duplicates_are_named_by_line() -> None:
    lines = [Line(1, "cat"), Line(2, "dog"), Line(4, "cat"), Line(5, "dog")]
    with pytest.raises(LowzooError, match=r"words\.txt has 'cat' twice, on lines 1 and 4, and 1 more lines"):
        distinct(lines, "words.txt", "Rename one")
    assert distinct(lines[:2], "words.txt", "Rename one") == ("cat", "dog")
