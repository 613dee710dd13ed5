"""iNaturalist 2018 (Van Horn et al., CVPR 2018) as distributed: `train2018.json`, `val2018.json`, `train_val2018/`."""

from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import ImageSource
from lowzoo.evaluate.sets.listed_files import first_there, listed_source, read_json

FOLDER = "inaturalist18"


def open_inaturalist18(root: Path, split: str) -> ImageSource:
    """Open `train` or `val`.

    Args:
        root: The folder with both JSON files and `train_val2018/`, or the one that holds it as `inaturalist18`.
        split: Which part.

    Raises:
        LowzooError: A file is missing, cut short, or not what its owners distribute.
    """
    list_file = first_there("iNaturalist 2018", [place / f"{split}2018.json" for place in (root, root / FOLDER)])
    document = read_json(list_file, "images", "annotations", "categories")
    try:
        category = {entry["image_id"]: entry["category_id"] for entry in document["annotations"]}
        names = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
        number = {identity: i for i, identity in enumerate(sorted(names))}
        files = [entry["file_name"] for entry in document["images"]]
        labels = [number[category[entry["id"]]] for entry in document["images"]]
    except (KeyError, TypeError) as error:
        raise LowzooError(
            f"{list_file} is not iNaturalist's: an entry lacks or does not know {error}", "Download it again"
        ) from error
    class_names = tuple(names[identity] for identity in sorted(names))
    return listed_source(f"inaturalist18/{split}", list_file.parent, files, labels, class_names, list_file=list_file)
