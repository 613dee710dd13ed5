"""Places205 (Zhou et al., NIPS 2014) as distributed: lists in `trainvalsplit_places205/`, pictures of 256 px.

A line of a list is `a/abbey/gsun_0123.jpg 0`; pictures lie in `data/vision/torralba/deeplearning/images256/`.
"""

from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.sets.listed_files import first_there, listed_source
from lowzoo.io.text_file import read_lines

FOLDER = "places205"
_LISTS, _IMAGES = "trainvalsplit_places205", "data/vision/torralba/deeplearning/images256"


def open_places205(root: Path, split: str) -> ImageSource:
    """Open `train` or `val`.

    Args:
        root: The folder into which both archives were unpacked, or the one that holds it as `places205`.
        split: Which part.

    Raises:
        LowzooError: A file is missing, cut short, or not what its owners distribute.
    """
    name = f"{split}_places205.csv"
    places = [place / inner for place in (root, root / FOLDER) for inner in (_LISTS, "")]
    list_file = first_there("Places205", [place / name for place in places])
    home = list_file.parent.parent if list_file.parent.name == _LISTS else list_file.parent
    images = first_there("Places205", [home / _IMAGES, home / "images256"])
    files, labels = [], []
    names: dict[int, str] = {}
    for number, line in read_lines(list_file, "a list of images", "Download it again"):
        file, _, label = line.rpartition(" ")
        if not file or not label.isdigit():
            raise LowzooError(f"line {number} of {list_file} is no name and class: {line[:60]!r}", "Download it again")
        files.append(file)
        labels.append(int(label))
        # a/abbey/x.jpg, and deeper a/apartment_building/outdoor/x.jpg
        names.setdefault(int(label), "/".join(file.split("/")[1:-1]))
    class_names = tuple(names.get(i, str(i)) for i in range(max(names, default=-1) + 1))
    return listed_source(f"places205/{split}", images, files, labels, class_names, list_file=list_file)
