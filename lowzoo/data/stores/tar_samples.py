"""What belongs together in a tar: a picture, its class, and further pictures such as masks.

WebDataset calls a run of members a sample that share their name up to the first dot. People's own names have dots, and
members that were sorted by kind are no runs; so names decide, wherever the members stand:

- The key of a member is its name without its extension: `7/cat.12` for `7/cat.12.jpg` and `7/cat.12.cls`.
- `0001.seg.png` is a companion of `0001.jpg`: what stands between begins with a letter. Beside no such picture it is a
  sample itself, and so is `cat.12.jpg` beside `cat.jpg`, as a number tells pictures apart.
- Of `0001.jpg` and `0001.png` one is the picture, of the same extension throughout the tar.
- A picture without a label of its key takes that of the key before its last dot, unless that is another picture's.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from lowzoo.base.errors import LowzooError
from lowzoo.data.pixels.formats import extension
from lowzoo.data.reading.found import some_of
from lowzoo.io.text_file import decode_text

# Kinds of members that hold a class, the best first.
LABELS = (".cls", ".json")
LABEL_FILES, LONE_LABELS = "label files", "label files without a picture"
NO_TEXT = "label files that are no text"
_LABEL_KEYS = ("label", "cls", "class", "class_id", "target")
_COMPANION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_PHOTOGRAPHS = ("jpg", "jpeg")


@dataclass(frozen=True, slots=True)
class Picture:
    """A member: its name, and offset and size in bytes; a size of -1 is cut off."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Label:
    """A member with a class."""

    name: str
    text: str


_Member = TypeVar("_Member", Picture, Label)


@dataclass(slots=True)
class Samples:
    """N samples in the order of their pictures.

    Args:
        chosen: Index of each one's picture.
        labels: Text of each one's class, empty for none.
        left_out: What became of the other members.
        notes: What a reader should know.
    """

    chosen: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def group(pictures: Sequence[Picture], labels: Sequence[Label]) -> Samples:
    """Find the samples of a tar."""
    samples = Samples()
    by_key, texts = _by_key(pictures), _by_key(labels)
    rank = _ranks(pictures)
    used: set[tuple[str, int]] = set()
    found: list[tuple[int, str]] = []
    again: list[str] = []
    for key, members in by_key.items():
        if _is_companion(key, by_key):
            samples.left_out.update(_further(pictures[i].name, key) for i in members)
            continue
        owner = _owner_of_label(key, by_key, texts)
        owned = _generations(texts[owner], labels) if owner is not None else []
        for number, mine in enumerate(_generations(members, pictures)):
            best = min(mine, key=lambda i: (rank[extension(pictures[i].name)], i))
            samples.left_out.update(_further(pictures[i].name) for i in mine if i != best)
            again += [pictures[best].name] * (number > 0)
            # A key before the last dot may label several pictures; one's own name that comes again has its own label.
            which = number if owner == key else 0
            text = ""
            if owner is not None and which < len(owned):
                used.add((owner, which))
                text = _best_label([labels[i] for i in owned[which]])
            found.append((best, text))
    found.sort()
    samples.chosen = [i for i, _ in found]
    samples.labels = [text for _, text in found]
    for key, members in texts.items():
        for number, mine in enumerate(_generations(members, labels)):
            samples.left_out[LABEL_FILES if (key, number) in used else LONE_LABELS] += len(mine)
    if again:
        samples.notes.append(
            f"{len(again)} pictures have the name of another one of their tar; all are read: {some_of(again)}"
        )
    return samples


def label_of(text: bytes, kind: str, where: str) -> str:
    """The class in a member of one of the `LABELS`; empty where there is none.

    Args:
        text: The member's bytes.
        kind: Which of the `LABELS` it is.
        where: Its name, for the error message.

    Raises:
        LowzooError: A class in bytes of no known encoding, which would be another class if it were guessed.
    """
    try:
        decoded = decode_text(text, where).strip()
    except LowzooError:
        # Beside pictures lies JSON of all kinds; what names no class in any encoding says nothing of one. The names of
        # fields are ASCII, and in Latin-1 all bytes are text.
        if kind == ".json" and not _class_in(text.decode("latin-1")):
            return ""
        raise
    return decoded if kind == ".cls" else _class_in(decoded)


def _class_in(document: str) -> str:
    """The class that a JSON document names; empty where it names none, or is no JSON."""
    try:
        fields = json.loads(document)
    except ValueError:
        return ""
    if not isinstance(fields, dict):
        return ""
    for key in _LABEL_KEYS:
        value = fields.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            return str(value).strip()
    return ""


def _key(name: str) -> str:
    kind = extension(name.rpartition("/")[2])
    return name.rstrip(" ")[: -len(kind) - 1] if kind else name


def _by_key(members: Sequence[_Member]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, member in enumerate(members):
        found.setdefault(_key(member.name), []).append(i)
    return found


def _generations(indices: list[int], members: Sequence[_Member]) -> list[list[int]]:
    """Divide the members of a key where a name comes again: another sample begins, as in tars that were joined."""
    found: list[list[int]] = [[]]
    names: set[str] = set()
    for i in indices:
        if members[i].name in names:
            found.append([])
            names = set()
        names.add(members[i].name)
        found[-1].append(i)
    return found


def _is_companion(key: str, by_key: dict[str, list[int]]) -> bool:
    folder, slash, base = key.rpartition("/")
    while True:
        base, dot, part = base.rpartition(".")
        if not dot or not base or not _COMPANION.fullmatch(part):
            return False
        if folder + slash + base in by_key:
            return True


def _owner_of_label(key: str, by_key: dict[str, list[int]], texts: dict[str, list[int]]) -> str | None:
    folder, slash, base = key.rpartition("/")
    while base:
        name = folder + slash + base
        if name in texts:
            return name
        base = base.rpartition(".")[0]
        if folder + slash + base in by_key:
            return None
    return None


def _further(name: str, key: str = "") -> str:
    middle = "." + key.rpartition(".")[2] if key else ""
    kind = f".{extension(name)}" if extension(name) else ""
    return f"further pictures of samples ({middle}{kind})"


def _ranks(pictures: Sequence[Picture]) -> dict[str, int]:
    """Which extension is the picture's where a sample has several: photographs, then the most frequent one."""
    kinds = Counter(extension(picture.name) for picture in pictures)
    order = sorted(kinds, key=lambda kind: (kind not in _PHOTOGRAPHS, -kinds[kind]))
    return {kind: place for place, kind in enumerate(order)}


def _best_label(labels: list[Label]) -> str:
    order = {kind: place for place, kind in enumerate(LABELS)}
    return min(labels, key=lambda label: order[f".{extension(label.name)}"]).text
