"""From the names of pictures to splits and classes, the same for folders, archives and lists.

The first folder of a name is the split where all of them spell splits (or train and another one do), and the next is
the class, as in torchvision's ImageFolder. What does not fit that picture is said, not guessed in silence.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.data.labels.split_names import SPLITS, looks_like_split, split_of_folder
from lowzoo.data.reading.found import counted, some_of

# A single folder of such a name holds pictures, not a class.
_NO_CLASS = frozenset(
    ("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "jpegimages", "data")
)


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """One split.

    Args:
        indices: (N,) its pictures among all names.
        labels: (N,) class numbers, -1 for a picture outside the class folders; None without classes.
        class_names: What the numbers mean, sorted.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None


def arrange(names: Sequence[str], what: str, *, classes: bool = True) -> tuple[dict[str, Arranged], list[str]]:
    """Find splits and classes.

    Args:
        names: Names of all pictures, with slashes between folders.
        what: Names the folder or archive, for messages.
        classes: False looks for splits alone.

    Returns:
        The splits in the order of train, validation, test ("train" alone where the set is not divided), and what a
        reader should know.

    Raises:
        LowzooError: Two folders mean the same split.
    """
    paths = [tuple(name.split("/")) for name in names]
    notes: list[str] = []
    paths, inside = _inside_wrappers(paths)
    if inside:
        notes.append(f"everything lies in {inside}, whose sub-folders are taken for those of {what}")
    everything = np.arange(len(paths))
    divided = _divide(paths, what, notes)
    if not classes:
        whole = {"train": ("", everything)}
        return {split: Arranged(mine, None, None) for split, (_, mine) in (divided or whole).items()}, notes
    if divided is None:
        return {"train": classes_of(paths, everything, what, notes)}, notes
    return {
        split: classes_of([paths[i][1:] for i in mine], mine, f"{what}/{folder}", notes)
        for split, (folder, mine) in divided.items()
    }, notes


def _inside_wrappers(paths: list[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], str]:
    """Go into the folders that hold the whole set, as archives often have one."""
    shared: list[str] = []
    for level in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(level)) > 1 or split_of_folder(level[0]):
            break
        shared.append(level[0])
    # A folder with pictures of its own is a class, or a set without classes.
    if any(len(path) == len(shared) + 1 for path in paths):
        return paths, ""
    return [path[len(shared) :] for path in paths], "/".join(shared)


def _divide(
    paths: list[tuple[str, ...]], what: str, notes: list[str]
) -> dict[str, tuple[str, NDArray[np.int64]]] | None:
    """The folder and the pictures of each split; None for a set that is not divided."""
    folders = Counter(path[0] for path in paths if len(path) > 1)
    split_of = {folder: split for folder in folders if (split := split_of_folder(folder))}
    found = set(split_of.values())
    others = [folder for folder in folders if folder not in split_of]
    loose = [path[0] for path in paths if len(path) == 1]
    if not found or (others and not ("train" in found and len(found) > 1)):
        suspects = [folder for folder in sorted(folders) if looks_like_split(folder)]
        if suspects:
            notes.append(
                f"{some_of(f'{name}/' for name in suspects)} may be meant as parts of the set and were taken for "
                f"classes, with {counted(len(folders) - len(suspects), 'other folder')} beside"
            )
        return None
    if len(split_of) > len(found):
        split = next(split for split in SPLITS if list(split_of.values()).count(split) > 1)
        both = sorted(folder for folder, its in split_of.items() if its == split)
        raise LowzooError(
            f"{some_of(f'{name}/' for name in both)} of {what} all mean the split {split}",
            "Put their images into one folder, or rename the others",
        )
    if others:
        count = sum(folders[folder] for folder in others)
        notes.append(f"in no split: {counted(count, 'picture')} in {some_of(f'{name}/' for name in sorted(others))}")
    if loose:
        notes.append(f"in no split: {counted(len(loose), 'picture')} beside the splits: {some_of(loose)}")
    folder_of = {split: folder for folder, split in split_of.items()}
    first = np.array([path[0] if len(path) > 1 else "" for path in paths])
    return {
        split: (folder_of[split], np.flatnonzero(first == folder_of[split])) for split in SPLITS if split in folder_of
    }


def classes_of(paths: list[tuple[str, ...]], indices: NDArray[np.int64], what: str, notes: list[str]) -> Arranged:
    """The classes of one split, whose paths begin with them."""
    folders = [path[0] if len(path) > 1 else "" for path in paths]
    outside = [path[-1] for path in paths if len(path) == 1]
    names = sorted(set(folders) - {""})
    if not names or (len(names) == 1 and names[0].lower() in _NO_CLASS):
        return Arranged(indices, None, None)
    if 2 * len(outside) >= len(paths):
        notes.append(
            f"{what} is taken as a set without classes: {len(outside)} of its {len(paths)} pictures lie outside "
            f"the folders {some_of(f'{name}/' for name in names)}"
        )
        return Arranged(indices, None, None)
    if outside:
        loose = counted(len(outside), "picture")
        notes.append(f"without a class: {loose} of {what} beside the class folders: {some_of(outside)}")
    number = {name: i for i, name in enumerate(names)} | {"": -1}
    return Arranged(indices, np.array([number[folder] for folder in folders], np.int64), tuple(names))
