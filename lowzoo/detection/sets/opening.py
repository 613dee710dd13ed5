"""From the word after --data to a set to train on and one to test on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base.errors import LowzooError
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
        data: Folder, annotation file, or hf:ORG/NAME.
        train_annotations: Annotation file to train on, where the folder does not tell.
        test_annotations: Annotation file to test on.
        images: Folder of the images of both, where the files do not tell.
        with_masks: Whether masks are wanted.

    Raises:
        LowzooError: No such set, a damaged or incomplete one, or one without masks that are wanted.
    """
    require_extra()
    word = str(data)
    if word.startswith(SCHEME):
        found = _table(word)
    else:
        folder = Path(data)
        if not folder.exists():
            raise LowzooError(f"there is no {folder}", "Name a folder with images and annotations")
        given = None if images is None else Path(images)
        if named := [file for file in (train_annotations, test_annotations) if file is not None]:
            found = _coco(Path(named[0]), Path(named[1]) if len(named) > 1 else None, given, with_masks)
        elif folder.is_file():
            found = _coco(folder, None, given, with_masks)
        elif (folder / SAVED).is_file():
            found = _table(word)
        elif voc_roots(folder):
            found = TrainTest(read_voc(folder, "train"), read_voc(folder, "test"))
        elif files := _annotation_files(folder):
            found = _coco(files[0], files[1] if len(files) > 1 else None, given, with_masks)
        elif is_table(folder):
            found = _table(word)
        else:
            raise LowzooError(
                f"{folder} holds no annotations: neither COCO's JSON, nor VOC's Annotations and ImageSets, nor a table",
                "Name another folder, or the files with --train-annotations and --test-annotations",
            )
    _check(found, word, with_masks=with_masks)
    return found


def _table(word: str) -> TrainTest:
    train, test = read_table(word, "train"), read_table(word, "test")
    if train is None:
        raise LowzooError(f"{word} has no split train", "Name another set")
    return TrainTest(train, test) if test is not None else _divided(train)


def _coco(train: Path, test: Path | None, images: Path | None, with_masks: bool) -> TrainTest:
    whole = read_coco(train, images, with_masks=with_masks)
    if test is None:
        return _divided(whole)
    return TrainTest(whole, read_coco(test, images, with_masks=with_masks))


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


def _check(found: TrainTest, word: str, *, with_masks: bool) -> None:
    train, test = found.train, found.test
    if train.class_names != test.class_names or train.category_ids != test.category_ids:
        odd = sorted({*train.class_names} ^ {*test.class_names})
        reason = f"{', '.join(odd[:5])} are in one of them" if odd else "their numbers differ"
        raise LowzooError(f"{train.name} and {test.name} have other classes: {reason}", "Mend one of the files")
    if with_masks and not (train.has_masks and test.has_masks):
        raise LowzooError(f"{word} has boxes and no masks", "Use `lowzoo eval detect`, or name a set with masks")
    if not train.objects:
        raise LowzooError(f"{train.name} has no objects to train on", "Name another set")
    if not test.objects:
        raise LowzooError(f"{test.name} has no objects to test on", "Name another set")
