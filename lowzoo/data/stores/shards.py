"""Which tar files a word means: a brace pattern, a wildcard, or a file that lists them."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.stores.unpacked import COMPRESSED_SUFFIXES
from lowzoo.io.text_file import read_lines

_LIST_SUFFIXES = (".txt", ".list", ".lst")
TAR_SUFFIXES = (".tar", *COMPRESSED_SUFFIXES)
_MOST_SHARDS = 1_000_000


def is_shard_pattern(source_spec: str) -> bool:
    """Tell whether a word stands for several tars, as opposed to the name of one file or folder."""
    return is_tar(source_spec) and any(sign in source_spec for sign in "{*?[") and not Path(source_spec).exists()


def is_shard_list(path: Path) -> bool:
    """Tell whether a file lists tars: a text file with a name of one in its first line that is no comment."""
    if path.suffix.lower() not in _LIST_SUFFIXES:
        return False
    return is_tar(next(_lines(path), ""))


def is_tar(name: str) -> bool:
    """Tell whether a file has the name of a tar, compressed or not."""
    return name.lower().endswith(TAR_SUFFIXES)


def expand_shards(source_spec: str) -> list[Path]:
    """Expand braces as a shell does, `{000..009}` and `{a,b}`, and then wildcards.

    Raises:
        LowzooError: Nothing matches, or shards are missing.
    """
    names = expand_braces(source_spec)
    found = [Path(hit) for name in names for hit in (sorted(glob.glob(name)) if re.search(r"[*?[]", name) else [name])]
    if not found:
        raise LowzooError(f"no file matches {source_spec}", "Check the pattern")
    return _existing(found, source_spec)


def read_shard_list(path: Path) -> list[Path]:
    """The tars that a text file names, one a line, relative to its own folder; empty lines and # are left out.

    Raises:
        LowzooError: It names something else, or shards are missing.
    """
    names = list(_lines(path))
    for name in names:
        if not is_tar(name):
            raise LowzooError(f"{path} names {name!r}, which is no tar file", "List one tar a line")
    return _existing([path.parent / Path(name).expanduser() for name in names], str(path))


def _existing(files: list[Path], source_spec: str) -> list[Path]:
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise LowzooError(
            f"{len(missing)} of {len(files)} shards of {source_spec} do not exist, the first is {missing[0]}",
            "Fetch them, or leave them out of the pattern",
        )
    return files


def expand_braces(source_spec: str) -> list[str]:
    """Expand braces as a shell does, `{000..009}` and `{a,b}`.

    Raises:
        LowzooError: They stand for too many names.
    """
    # Nested braces are opened from within, which gives some names twice.
    return list(dict.fromkeys(_braces(source_spec)))


def _lines(path: Path) -> Iterator[str]:
    for line in read_lines(path, "a list of tars", "Name a text file with one tar a line", comment="#"):
        yield line.text


def _braces(source_spec: str) -> Iterator[str]:
    match = re.search(r"\{([^{}]*)\}", source_spec)
    if match is None:
        yield source_spec
        return
    span = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if span is not None:
        first, last = int(span[1]), int(span[2])
        if abs(last - first) >= _MOST_SHARDS:
            raise LowzooError(f"{match[0]} stands for more than {_MOST_SHARDS} shards", "Check the pattern")
        padded = span[1].startswith("0") or span[2].startswith("0")
        width = max(len(span[1]), len(span[2])) if padded else 0
        step = 1 if first <= last else -1
        choices = [f"{number:0{width}}" for number in range(first, last + step, step)]
    else:
        choices = match[1].split(",")
    for choice in choices:
        yield from _braces(source_spec[: match.start()] + choice + source_spec[match.end() :])
