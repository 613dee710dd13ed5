"""Which range of numbers the pictures with more than 8 bits of a set use: found once and remembered."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from lowzoo.base.progress import progress_bar
from lowzoo.data.pixels import formats
from lowzoo.data.pixels.decode import BadImage, opencv, wide_numbers
from lowzoo.data.pixels.intensity import Intensity, Kind, Range, extremes, joint_range
from lowzoo.data.reading.identity import remembered, remembered_of
from lowzoo.data.reading.reader import Reader
from lowzoo.data.stores.folder import FolderReader
from lowzoo.data.stores.stream import StreamReader

# Changes when a change of the rules changes what is remembered.
_FACT = "numbers 2"
_UNREAD = b"?"
_TITLE = "measuring intensities"
# A task of a thread each would take longer than its work, and memory in proportion to the set.
_AT_ONCE = 256
_EIGHT_BITS = frozenset(["jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp", "mpo", "gif", "bmp", "dib", "webp"])

# Kind of number, smallest and largest of a picture; the kind alone where the file states its range; nothing for 8 bits.
_Numbers = tuple[()] | tuple[Kind] | tuple[Kind, float, float]


def measure(
    reader: Reader, others: Callable[[], Sequence[Reader]], intensity: Intensity
) -> tuple[Intensity, list[str]]:
    """Find the range of each type of number over all pictures of a set.

    Args:
        reader: Reader of the split that is wanted.
        others: Gives those of the other splits, which count as well; not asked for where all pictures have 8 bits.
        intensity: As the user has chosen.

    Returns:
        The intensity with what was found, and what to say about it; nothing for a split of 8 bits.
    """
    own = [numbers for numbers in _numbers_of(reader) if numbers]
    if not own:
        return intensity, []
    seen: dict[Kind, list[Range]] = defaultdict(list)
    stated: Counter[str] = Counter()
    for numbers in chain(own, *(_numbers_of(other) for other in others())):
        if len(numbers) == 3:
            seen[numbers[0]].append(numbers[1:])
        elif numbers:
            stated[numbers[0]] += 1
    measured = tuple((kind, joint_range(kind, ranges)) for kind, ranges in sorted(seen.items()))
    found = Intensity(intensity.rule, measured if intensity.rule == "auto" else ())
    notes = []
    for kind, joint in measured:
        low, high = joint if intensity.rule == "auto" else found.whole_range(kind)
        lowest, highest = min(low for low, _ in seen[kind]), max(high for _, high in seen[kind])
        rule = "the usual range that holds" if intensity.rule == "auto" else "as --intensity says; there are"
        notes.append(
            f"{len(seen[kind])} pictures hold {kind} numbers: {low:g} becomes black and {high:g} white ({rule} "
            f"{lowest:g} to {highest:g}); --intensity LOW,HIGH takes another range"
        )
    by = "which counts" if intensity.rule == "auto" else "but --intensity counts"
    notes += [f"{count} pictures of {name} numbers state their range, {by}" for name, count in sorted(stated.items())]
    return found, notes


def _numbers_of(reader: Reader) -> list[_Numbers]:
    if isinstance(reader, FolderReader):
        paths = [path for i in range(len(reader)) if formats.extension(path := reader.where(i)) not in _EIGHT_BITS]
        return [_read(found) for found in remembered(_fact(), paths, _of_file, title=_TITLE, absent=_UNREAD)]
    if isinstance(reader, StreamReader):
        return [_numbers(data, "") for data in reader.head()]
    return [
        _read(entry) for entry in remembered_of(_fact(), reader.fingerprint(), lambda: _of_all(reader)).split(b"\n")
    ]


def _fact() -> str:
    """What is remembered depends on who reads 16-bit colours: nobody does without OpenCV."""
    return f"{_FACT} {'with' if opencv() else 'without'} OpenCV"


def _of_all(reader: Reader) -> bytes:
    """One line for each picture with more than 8 bits."""

    def some(start: int) -> list[bytes]:
        return [one(index) for index in range(start, min(start + _AT_ONCE, len(reader)))]

    def one(index: int) -> bytes:
        try:
            return _written(_numbers(reader.encoded(index), reader.where(index)))
        except BadImage:
            return b"[]"

    with ThreadPoolExecutor() as pool, progress_bar(_TITLE, len(reader)) as advance:
        lines: list[bytes] = []
        for found in pool.map(some, range(0, len(reader), _AT_ONCE)):
            advance(len(found))
            lines += [line for line in found if line != b"[]"]
    return b"\n".join(lines) or b"[]"


def _of_file(path: str) -> bytes:
    with open(path, "rb") as file:
        head = file.read(formats.HEAD_BYTES)
        return _written(_numbers(head + file.read(), path)) if formats.may_be_wide(head) else b"[]"


def _numbers(data: bytes, where: str) -> _Numbers:
    """What is known of a picture; one that cannot be read has no numbers, and is reported by whoever reads it."""
    try:
        pages = wide_numbers(data, where) if formats.may_be_wide(data[: formats.HEAD_BYTES]) else []
    except BadImage:
        return ()
    if not pages:
        return ()
    kind = pages[0].kind
    found = [extremes(page) for page in pages if page.kind == kind and page.stated is None]
    return (kind, min(low for low, _ in found), max(high for _, high in found)) if found else (kind,)


def _written(numbers: _Numbers) -> bytes:
    return json.dumps(numbers).encode()


def _read(line: bytes) -> _Numbers:
    if line == _UNREAD:
        return ()
    numbers: _Numbers = tuple(json.loads(line))
    return numbers
