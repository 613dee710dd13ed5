"""What annotations say against the pictures themselves, and the set to test on against the one to train on."""

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from PIL import Image

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.data.pixels.decode import BadImage
from lowzoo.data.pixels.orientation import upright_size
from lowzoo.data.reading.found import some_of
from lowzoo.data.reading.identity import UNREADABLE, file_digests, remembered, remembered_of
from lowzoo.data.source import ImageSource
from lowzoo.detection.sets.annotated import AnnotatedSet

_UNREAD = b"-"
_DIGEST = len(UNREADABLE)


def stored_size(path: Path) -> tuple[int, int]:
    """Height and width of an image as it is decoded, from its header.

    Raises:
        LowzooError: It is no image.
    """
    try:
        with Image.open(path) as image:
            return upright_size(image)
    except Exception as error:  # PIL's plug-ins raise anything on hostile bytes
        raise LowzooError(f"{path} is not a readable image ({reason_of(error)})", "Replace or remove it") from error


def refuse_other_sizes(name: str, source: ImageSource, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse pictures of another size than their annotations are for, before hours are spent on the others.

    Pictures that cannot be read are left to whoever reads them.

    Args:
        name: Of the annotations.
        source: The pictures, as files.
        sizes: (height, width) of each, as the annotations say.

    Raises:
        LowzooError: How many, and the first of them with both sizes.
    """
    paths = [source.where(i) for i in range(len(source))]
    found = remembered("upright size", paths, _size_of, title="reading sizes", absent=_UNREAD)
    said = [f"{height} {width}".encode() for height, width in sizes]
    other = [i for i, (own, stated) in enumerate(zip(found, said, strict=True)) if own not in (stated, _UNREAD)]
    if not other:
        return
    first = other[0]
    (height, width), (stated_height, stated_width) = map(int, found[first].split()), sizes[first]
    turned = (height, width) == (stated_width, stated_height)
    raise LowzooError(
        f"{len(other)} of the {len(paths)} images of {name} are of another size than their annotations say: "
        f"{paths[first]} is {width} x {height} pixels{' as its camera turned it' if turned else ''}, and its "
        f"annotations are for {stated_width} x {stated_height}",
        "Store the pictures upright" if turned else "Get the images again, or mend their entries",
    )


def with_remarks(train: AnnotatedSet, test: AnnotatedSet) -> tuple[AnnotatedSet, AnnotatedSet]:
    """Both sets, with notes on what makes AP say less than it seems: pictures and classes that are in one of them.

    Args:
        train: To train on.
        test: To test on, of the same classes.
    """
    notes = []
    if shared := _in_both(train, test):
        notes.append(
            f"{len(shared)} of the {len(test)} images are trained on too, byte for byte, so that AP tells less of new "
            f"ones: {some_of(shared)}"
        )
    taught, asked = (_present(each) for each in (train, test))
    names = dict(enumerate(train.class_names, 1))
    if untaught := [names[i] for i in sorted(asked - taught)]:
        notes.append(
            f"{_classes(untaught)} no object to train on, and AP counts what cannot be found there: {some_of(untaught)}"
        )
    if unasked := [names[i] for i in sorted(taught - asked)]:
        notes.append(f"{_classes(unasked)} no object to test on, and AP is over the others: {some_of(unasked)}")
    return train, dataclasses.replace(test, notes=(*test.notes, *notes))


def _classes(names: Sequence[str]) -> str:
    return "1 class has" if len(names) == 1 else f"{len(names)} classes have"


def _present(data: AnnotatedSet) -> set[int]:
    """Numbers of the classes with an object."""
    return {int(label) for each in data.images for label in each.labels[each.objects]}


def _in_both(train: AnnotatedSet, test: AnnotatedSet) -> list[str]:
    """Pictures to test on that are also trained on."""
    trained, tested = ([each.source.where(i) for i in range(len(each))] for each in (train, test))
    if all(map(os.path.isfile, (*trained, *tested))):
        # Files of different sizes differ, and most need not be read.
        alike = set(map(os.path.getsize, trained)) & set(map(os.path.getsize, tested))
        trained, tested = ([path for path in paths if os.path.getsize(path) in alike] for paths in (trained, tested))
        digests = file_digests(trained), file_digests(tested)
    else:
        digests = _digests(train.source), _digests(test.source)
    seen = Counter(digests[0])
    del seen[UNREADABLE]
    return [place for place, digest in zip(tested, digests[1], strict=True) if seen[digest]]


def _digests(source: ImageSource) -> list[bytes]:
    """Of the bytes of each picture of a table."""
    joined = remembered_of(
        "digest of each image", source.fingerprint(), lambda: b"".join(_digest(source, i) for i in range(len(source)))
    )
    return [joined[i : i + _DIGEST] for i in range(0, len(joined), _DIGEST)]


def _digest(source: ImageSource, index: int) -> bytes:
    try:
        return sha256(source.encoded(index)).digest()
    except BadImage:
        return UNREADABLE


def _size_of(path: str) -> bytes:
    try:
        height, width = stored_size(Path(path))
    except LowzooError:
        return _UNREAD
    return f"{height} {width}".encode()
