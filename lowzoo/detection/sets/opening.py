"""From the word after --data to a set to train on and one to test on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.detection.sets.agreement import with_remarks
from lowzoo.detection.sets.annotated import AnnotatedSet, require_extra
from lowzoo.detection.sets.coco import read_coco
from lowzoo.detection.sets.tables import SAVED, SCHEME, is_table, read_table
from lowzoo.detection.sets.voc import read_voc, voc_roots

# One of so many images is held out where a set has no part to test on.
_HELD_OUT = 5
_TRAIN, _TEST = ("train",), ("val", "valid", "test")


@dataclass(frozen=True)
class TrainTest:
    """A set to train on and one to test on, of the same classes."""

    train: AnnotatedSet
    test: AnnotatedSet


@dataclass(frozen=True)
class _Files:
    """The files that stand beside --data."""

    train: Path | None
    test: Path | None
    images: Path | None

    @classmethod
    def of(cls, train: str | Path | None, test: str | Path | None, images: str | Path | None) -> "_Files":
        return cls(*(None if each is None else Path(each) for each in (train, test, images)))

    def refuse(self, what: str) -> None:
        """Refuse those that were named, where they have no meaning."""
        words = {"--train-annotations": self.train, "--test-annotations": self.test, "--images": self.images}
        if named := [word for word, place in words.items() if place is not None]:
            raise LowzooError(f"{what}, so {' and '.join(named)} would not be looked at", f"Leave out {named[0]}")


def open_sets(
    data: str | Path,
    *,
    train_annotations: str | Path | None = None,
    test_annotations: str | Path | None = None,
    images: str | Path | None = None,
    with_masks: bool,
) -> TrainTest:
    """Open a set of COCO's layout, VOC's, or a table of `datasets`.

    Args:
        data: Folder, annotation file to train on, or hf:ORG/NAME.
        train_annotations: Annotation file to train on, where the folder does not tell.
        test_annotations: Annotation file to test on.
        images: Folder of the images of both, where the files do not tell.
        with_masks: Whether masks are wanted.

    Raises:
        LowzooError: No such set, a damaged or incomplete one, one without masks that are wanted, or a file that would
            not be looked at.
    """
    require_extra()
    word, files = str(data), _Files.of(train_annotations, test_annotations, images)
    kind = _kind(word, files)
    if kind == "table":
        found = _table(word)
    elif kind == "voc":
        found = TrainTest(read_voc(Path(data), "train"), read_voc(Path(data), "test"))
    else:
        found = _coco(Path(data), files, with_masks=with_masks)
    _check_parts(found, word, with_masks=with_masks)
    return TrainTest(*with_remarks(found.train, found.test))


def open_test(
    data: str | Path,
    *,
    test_annotations: str | Path | None = None,
    images: str | Path | None = None,
    with_masks: bool,
) -> AnnotatedSet:
    """Open what a trained detector is tested on: all of a file, or the part of a set that there is for it.

    Args:
        data: Folder, annotation file to test on, or hf:ORG/NAME.
        test_annotations: Annotation file to test on, where the folder does not tell.
        images: Folder of the images, where the file does not tell.
        with_masks: Whether masks are wanted.

    Raises:
        LowzooError: As `open_sets`.
    """
    require_extra()
    word, files = str(data), _Files.of(None, test_annotations, images)
    kind = _kind(word, files)
    if kind == "table":
        found = read_table(word, "test") or _train_of_table(word)
    elif kind == "voc":
        found = read_voc(Path(data), "test")
    else:
        if Path(data).is_file() and files.test is not None:
            raise LowzooError(
                f"{data} and --test-annotations {files.test} both name what to test on", "Leave out one of them"
            )
        own = Path(data) if Path(data).is_file() else files.test or _annotation_files(Path(data))[-1]
        found = read_coco(own, files.images, with_masks=with_masks)
    _check_test(found, word, with_masks=with_masks)
    return found


def held_out(whole: AnnotatedSet, trained_on: str) -> AnnotatedSet | None:
    """The fifth of a set that was held out of a training, or None if the rest is not what it saw.

    Args:
        whole: A set.
        trained_on: Fingerprint of the images that were trained on.
    """
    if len(whole) < 2:
        return None
    parts = _divided(whole)
    return parts.test if parts.train.source.fingerprint() == trained_on else None


def _kind(word: str, files: _Files) -> str:
    """The layout of what stands after --data: table, voc or coco."""
    if word.startswith(SCHEME):
        files.refuse(f"{word} is a table")
        return "table"
    folder = Path(word)
    if not folder.exists():
        raise LowzooError(f"there is no {folder}", "Name a folder with images and annotations")
    if folder.is_file() or files.train is not None:
        return "coco"
    if (folder / SAVED).is_file():
        files.refuse(f"{folder} is a table")
        return "table"
    if voc_roots(folder):
        files.refuse(f"{folder} has VOC's layout")
        return "voc"
    if files.test is not None or _annotation_files(folder):
        return "coco"
    if is_table(folder):
        files.refuse(f"{folder} is a table")
        return "table"
    raise LowzooError(
        f"{folder} holds no annotations: neither COCO's JSON, nor VOC's Annotations and ImageSets, nor a table",
        "Name another folder, or the files with --train-annotations and --test-annotations",
    )


def _table(word: str) -> TrainTest:
    train, test = _train_of_table(word), read_table(word, "test")
    return TrainTest(train, test) if test is not None else _divided(train)


def _train_of_table(word: str) -> AnnotatedSet:
    train = read_table(word, "train")
    if train is None:
        raise LowzooError(f"{word} has no split train", "Name another set")
    return train


def _coco(data: Path, files: _Files, *, with_masks: bool) -> TrainTest:
    if data.is_file():
        if files.train is not None:
            raise LowzooError(
                f"{data} and --train-annotations {files.train} both name what to train on", "Leave out one of them"
            )
        train, test = data, files.test
    elif files.train is not None:
        train, test = files.train, files.test
    else:
        own = _annotation_files(data)
        if files.test is not None:
            # A folder's only file may be the one that is named.
            own = [file for file in own[:1] if not _same(file, files.test)]
        if not own:
            raise LowzooError(
                "--test-annotations names what to test on, and nothing what to train on", "Add --train-annotations"
            )
        train, test = own[0], files.test or (own[1] if len(own) > 1 else None)
    if test is not None and _same(train, test):
        raise LowzooError(
            f"{test} is named to train on and to test on",
            "Leave out --test-annotations, and a fifth of the images is held out",
        )
    whole = read_coco(train, files.images, with_masks=with_masks)
    if test is None:
        return _divided(whole)
    return TrainTest(whole, read_coco(test, files.images, with_masks=with_masks))


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _annotation_files(folder: Path) -> list[Path]:
    """The files to train and test on, as COCO and those that follow it call them."""
    files = sorted({*folder.glob("annotations/*.json"), *folder.glob("*.json"), *folder.glob("*/_annotations*.json")})
    files = [file for file in files if not file.name.startswith("dataset_")]  # of the Hub's tables
    instances = [file for file in files if file.name.startswith("instances_")]
    files = instances or files

    def word(file: Path) -> str:
        return file.parent.name if file.name.startswith("_annotations") else file.stem

    train = [file for file in files if any(part in word(file) for part in _TRAIN)]
    test = [file for part in _TEST for file in files if part in word(file) and file not in train]
    if len(train) > 1:
        raise LowzooError(
            f"{folder} has several files to train on: {', '.join(file.name for file in train)}",
            "Name one with --train-annotations, and one with --test-annotations",
        )
    if train:
        return [*train, *test[:1]]
    return files[:1] if len(files) == 1 else []


def _divided(whole: AnnotatedSet) -> TrainTest:
    """Hold out a fifth of the images, by a hash of their numbers."""
    ranks = sorted(range(len(whole)), key=lambda i: hashlib.sha256(f"{whole.images[i].number}".encode()).digest())
    held = {*ranks[: max(1, len(whole) // _HELD_OUT)]}
    rest = [i for i in range(len(whole)) if i not in held]
    if not rest:
        raise LowzooError(f"{whole.name} has a single image", "Name a set with more images")
    return TrainTest(
        whole.subset(rest, f"{whole.name}, four fifths"), whole.subset(sorted(held), f"{whole.name}, a fifth held out")
    )


def _check_parts(found: TrainTest, word: str, *, with_masks: bool) -> None:
    train, test = found.train, found.test
    if train.class_names != test.class_names or train.category_ids != test.category_ids:
        odd = sorted({*train.class_names} ^ {*test.class_names})
        reason = f"{', '.join(odd[:5])} are in one of them" if odd else "their numbers differ"
        raise LowzooError(f"{train.name} and {test.name} have other classes: {reason}", "Mend one of the files")
    if with_masks and not train.has_masks:
        raise _no_masks(word)
    if not train.objects:
        raise LowzooError(f"{train.name} has no objects to train on", "Name another set")
    _check_test(test, word, with_masks=with_masks)


def _check_test(test: AnnotatedSet, word: str, *, with_masks: bool) -> None:
    if with_masks and not test.has_masks:
        raise _no_masks(word)
    if not test.objects:
        raise LowzooError(f"{test.name} has no objects to test on", "Name another set")


def _no_masks(word: str) -> LowzooError:
    return LowzooError(f"{word} has boxes and no masks", "Use `lowzoo eval detect`, or name a set with masks")
