"""A set of images, its splits, and each split as a source of encoded images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.measure import measure
from lowzoo.data.pixels.channels import decode_channels
from lowzoo.data.pixels.decode import Decoded, Rules
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.options import DEFAULT_OPTIONS, SourceOptions
from lowzoo.data.reading.reader import Opened, Part, Reader
from lowzoo.data.reading.subset import SubsetReader
from lowzoo.data.splits import find_splits
from lowzoo.data.stores.memory import open_memory
from lowzoo.data.stores.stream import StreamReader


@dataclass(frozen=True, eq=False)
class ImageSource:
    """N encoded images, perhaps with labels; cheap to pickle to data workers.

    Args:
        name: What the set is called in messages and results, with its split.
        reader: Where the bytes come from.
        labels: (N,) class numbers, -1 for an image without a class; None for a set without classes.
        class_names: What the numbers mean, or None.
        rules: How images are decoded.
        found: What the source was made from.
    """

    name: str
    reader: Reader
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None
    rules: Rules = field(default_factory=Rules)
    found: Found = field(default_factory=Found)

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def streamed(self) -> bool:
        """Whether the images come in an order of their own and cannot be picked by index."""
        return isinstance(self.reader, StreamReader)

    def encoded(self, index: int) -> bytes:
        """Give the bytes of image `index` (0 <= index < N); `BadImage` if they cannot be read."""
        return self.reader.encoded(index)

    def where(self, index: int) -> str:
        """Name image `index` for messages: its path, or file and row."""
        return self.reader.where(index)

    def decoded(
        self, index: int, divisor: Callable[[int, int], int] = lambda height, width: 1, *, channels: int = 3
    ) -> Decoded:
        """Read and decode image `index`; see `lowzoo.data.pixels.channels.decode_channels`.

        Raises:
            BadImage: It cannot be read.
        """
        return decode_channels(self.encoded(index), self.where(index), channels, self.rules, divisor)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Read and decode image `index`: (H, W, 3) RGB; `BadImage` if it cannot be read."""
        return self.decoded(index).pixels

    @cached_property
    def _identity(self) -> str:
        content = self.reader.fingerprint()
        own = "" if self.rules == Rules() else repr(self.rules)
        return sha256(f"{content}{own}".encode()).hexdigest()[:16]

    def fingerprint(self) -> str:
        """Identify the pixels: 16 hexadecimal digits over the bytes of all images in their order and how they are read.

        Equal wherever the same data lies, under whatever names.
        """
        return self._identity

    def facts(self) -> dict[str, str]:
        """What has to be the same in processes that share this source, as `Processes.require_same` takes it."""
        return {
            "images": f"{len(self)} with digest {self.fingerprint()}",
            "labels": self.labels_digest() or "none",
        }

    def labels_digest(self) -> str:
        """Identify the class of each image by 16 hexadecimal digits; empty without classes."""
        if self.labels is None:
            return ""
        names = "\0".join(self.class_names or ()).encode("utf-8", "surrogateescape")
        return sha256(self.labels.tobytes() + names).hexdigest()[:16]

    def require_labels(self) -> NDArray[np.int64]:
        """Give the labels (N,), all of them from 0 on.

        Raises:
            LowzooError: The set has none, or some images have none.
        """
        if self.labels is None:
            raise LowzooError(
                f"{self.name} has no labels, which this needs",
                "Use a folder with one sub-folder a class, a table with a column 'label', or --labels FILE",
            )
        if self.labels.min() < 0:
            raise LowzooError(
                f"{self.name} has no label for {int((self.labels < 0).sum())} of its {len(self)} images",
                "Remove the images that have none",
            )
        return self.labels

    def labelled(self) -> "ImageSource":
        """The images that have a class; the source itself where all have one.

        Raises:
            LowzooError: None has.
        """
        if self.labels is None or self.labels.min() >= 0:
            self.require_labels()
            return self
        given = np.flatnonzero(self.labels >= 0)
        if not len(given):
            self.require_labels()
        note = f"{len(self) - len(given)} images of {self.name} have no class and are left out"
        return dataclasses.replace(self.subset(given), found=self.found.with_notes(note))

    def subset(self, indices: NDArray[np.int64]) -> "ImageSource":
        """The images `indices` (K,), labels included."""
        return dataclasses.replace(
            self,
            reader=SubsetReader(self.reader, indices),
            labels=None if self.labels is None else self.labels[indices],
        )

    def numbered_like(self, other: "ImageSource") -> "ImageSource":
        """This source with the class numbers of another one: every source numbers the classes it holds by itself.

        The one way to compare labels of two sources. A class that the other one lacks becomes -1.

        Raises:
            LowzooError: Only one of the two names its classes.
        """
        mine, theirs = self.class_names, other.class_names
        if self.labels is None or other.labels is None:
            return self
        if mine is None and theirs is None:
            known = np.where(np.isin(self.labels, other.labels), self.labels, -1)
            return dataclasses.replace(self, labels=known)
        if mine == theirs:
            return self
        if mine is None or theirs is None:
            named, bare = (self, other) if mine is not None else (other, self)
            raise LowzooError(
                f"{named.name} names its classes and {bare.name} numbers them, so they cannot be compared",
                "Store labels of the same kind in both",
            )
        number = {name: i for i, name in enumerate(theirs)}
        # The last entry stands for images without a class, whose number is -1.
        table = np.array([number.get(name, -1) for name in mine] + [-1], np.int64)
        return dataclasses.replace(self, labels=table[self.labels], class_names=theirs)


Images = str | Path | ImageSource | Sequence[Any] | None
"""A SRC word, a source that is open, or pictures that the program holds; None is the embedded sample set."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """What a SRC word means.

    Args:
        name: Name of the set.
        parts: What opens each split.
        found: What it was made from.
        options: How its images are read.
        source: The one split, where the set is a source that was open before.
    """

    name: str
    parts: Mapping[str, Part]
    found: Found
    options: SourceOptions
    source: ImageSource | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; ("train",) for a set that is not divided."""
        return tuple(self.parts)

    def open(self, split: str) -> ImageSource:
        """Open a split; where it holds pictures with more than 8 bits, those of the others count for their range too.

        Raises:
            LowzooError: No such split, or nothing usable in it.
        """
        if split not in self.parts:
            raise LowzooError(
                f"{self.name} has no split {split!r}",
                f"It is divided into: {', '.join(self.parts)}. Choose one, or name the folder of one part",
            )
        if self.source is not None:
            return self.source
        part, rules = self.parts[split], self.options.rules()
        opened = part()
        others = {id(other): other for other in self.parts.values() if other is not part}
        intensity, notes = measure(
            opened.reader, lambda: [other().reader for other in others.values()], rules.intensity
        )
        found = dataclasses.replace(
            self.found if self.found.files else opened.found,
            notes=(*dict.fromkeys((*self.found.notes, *opened.found.notes)), *notes),
        )
        return ImageSource(
            f"{self.name}/{split}",
            opened.reader,
            opened.labels,
            opened.class_names,
            dataclasses.replace(rules, intensity=intensity),
            found,
        )


GIVEN = "given images"


def open_set(source_spec: Images, options: SourceOptions = DEFAULT_OPTIONS) -> ImageSet:
    """Find what a word means, or take what a program holds.

    Args:
        source_spec: See `find_splits`; None is the embedded sample set. Images that a program holds are one split,
            "train".
        options: How images are found and read.

    Raises:
        LowzooError: No such path, or nothing usable in it; or a source that is open, and an option for it.
    """
    options.rules()
    if isinstance(source_spec, ImageSource):
        if options != DEFAULT_OPTIONS:
            raise LowzooError(
                f"{source_spec.name} is open already and is read as it was opened", "Give options when opening"
            )
        return ImageSet(source_spec.name, {"train": _never}, source_spec.found, options, source_spec)
    if source_spec is not None and not isinstance(source_spec, (str, Path)):
        for name in ("image_column", "label_column", "labels"):
            if getattr(options, name) is not None:
                raise LowzooError(f"images that are given have no use for {name}", f"Leave out {name}")
        opened = open_memory(source_spec)
        return ImageSet(GIVEN, {"train": lambda: opened}, Found(), options)
    name, parts, found = find_splits(source_spec, options)
    return ImageSet(name, parts, found, options)


def images_of(
    images: Sequence[Any],
    labels: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    name: str = GIVEN,
) -> ImageSource:
    """Make a source of pictures that a program holds.

    Args:
        images: See `lowzoo.data.stores.memory.open_memory`.
        labels: Class number of each; None for pictures without classes.
        class_names: What the numbers mean.
        name: What messages and results call it.

    Raises:
        LowzooError: There are none, or something among them is no picture; or not as many labels.
    """
    opened = open_memory(images, labels, class_names)
    return ImageSet(name, {"train": lambda: opened}, Found(), DEFAULT_OPTIONS).open("train")


def _never() -> Opened:
    raise AssertionError("a source that is open is not opened")


def open_source(source_spec: Images, split: str = "train", options: SourceOptions = DEFAULT_OPTIONS) -> ImageSource:
    """Open one split of a set of images.

    Args:
        source_spec: See `find_splits`; None is the embedded sample set.
        split: Which part of it. A set that is not divided is all "train".
        options: How images are found and read.

    Raises:
        LowzooError: No such path, nothing usable in it, or no such split.
    """
    found = open_set(source_spec, options)
    if split not in found.parts:
        name = source_spec if isinstance(source_spec, (str, Path)) else found.name
        raise LowzooError(f"{name} has no split {split!r}", f"Choose one of: {', '.join(found.parts)}")
    return found.open(split)


def split_names(source_spec: str | Path | None) -> tuple[str, ...]:
    """Tell which splits `open_source` gives for `source_spec`: ("train",) for a set that is not divided."""
    return open_set(source_spec).splits
