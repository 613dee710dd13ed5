"""CLEVR v1.0 (Johnson et al., CVPR 2017) as distributed, with labels made from its scene files.

Count: the number of objects, 3 to 10. Dist: how far the nearest object is from the camera, in six intervals. Both as
in the visual task adaptation benchmark (Zhai et al., arXiv 1910.04867) and in VISSL, where the RoB table comes from.
"""

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.sets.listed_files import first_there, listed_source, read_json

FOLDER = "CLEVR_v1.0"
_FEWEST, _MOST = 3, 10
# Upper ends of the intervals, inclusive; a pixel coordinate's third number is the distance from the camera.
_DISTANCES = (8.0, 8.5, 9.0, 9.5, 10.0, 100.0)


def count_of(scene: dict[str, Any]) -> int:
    """Class of Clevr/Count: 0 for three objects."""
    return len(scene["objects"]) - _FEWEST


def distance_of(scene: dict[str, Any]) -> int:
    """Class of Clevr/Dist: 0 where the nearest object is at most 8 away."""
    return bisect_left(_DISTANCES, min(thing["pixel_coords"][2] for thing in scene["objects"]))


COUNT_NAMES = tuple(f"{count} objects" for count in range(_FEWEST, _MOST + 1))
DISTANCE_NAMES = tuple(f"at most {distance:g}" for distance in _DISTANCES)


def open_clevr_count(root: Path, split: str) -> ImageSource:
    """Open `train` or `val` for Clevr/Count; see `_open`."""
    return _open(root, split, "clevr_count", count_of, COUNT_NAMES)


def open_clevr_dist(root: Path, split: str) -> ImageSource:
    """Open `train` or `val` for Clevr/Dist; see `_open`."""
    return _open(root, split, "clevr_dist", distance_of, DISTANCE_NAMES)


def _open(
    root: Path, split: str, name: str, label_of: Callable[[dict[str, Any]], int], class_names: tuple[str, ...]
) -> ImageSource:
    """Read the scene file of a split of `CLEVR_v1.0`, which is `root` or lies in it."""
    scene_file = f"scenes/CLEVR_{split}_scenes.json"
    list_file = first_there("CLEVR v1.0", [place / scene_file for place in (root / FOLDER, root)])
    document = read_json(list_file, "scenes")
    try:
        files = [scene["image_filename"] for scene in document["scenes"]]
        labels = [label_of(scene) for scene in document["scenes"]]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise LowzooError(
            f"{list_file} is not CLEVR's: a scene lacks objects or {error}", "Download it again"
        ) from error
    images = list_file.parent.parent / "images" / split
    return listed_source(f"{name}/{split}", images, files, labels, class_names, list_file=list_file)
