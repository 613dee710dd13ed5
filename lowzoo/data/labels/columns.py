"""Which column of a table holds the pictures and which one their classes, the same for every kind of table."""

from collections.abc import Sequence

from lowzoo.base.errors import LowzooError

_USUAL = ("image", "img")
_WITH_PICTURES = (
    "image img images imgs picture pictures pic photo photos bytes image_bytes img_bytes image_data content data "
    "jpg jpeg png webp"
)
_WITH_PATHS = (
    "image img images picture pic photo name path paths file files filename filenames file_name filepath file_path "
    "image_path img_path image_file image_filename image_name img_name image_id imagepath imagename"
)
# What columns with pictures are called, for tables where more than one column holds bytes.
_IMAGE_NAMES = frozenset(_WITH_PICTURES.split())
# What columns with paths of pictures are called.
PATH_NAMES = frozenset(_WITH_PATHS.split())
# The first is taken wherever it is there.
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "classes",
    "cls",
    "target",
    "category",
    "class_name",
    "class_id",
    "label_name",
    "category_name",
    "species",
    "y",
)
SPLIT_NAMES = frozenset(["split", "set", "subset", "partition", "phase", "fold_name", "dataset_split"])


def pick_image_column(
    what: str, candidates: Sequence[str], names: Sequence[str], wanted: str | None
) -> tuple[str, list[str]]:
    """Find the column with the pictures.

    Args:
        what: Names the table.
        candidates: The columns whose type can hold pictures.
        names: All columns.
        wanted: The user's choice.

    Returns:
        Its name, and what to say.

    Raises:
        LowzooError: The wanted one is not there or holds something else; there is none, or there are several.
    """
    if wanted is not None:
        if wanted not in names:
            raise LowzooError(f"{what} has no column {wanted!r}, only: {', '.join(names)}", "Choose one of these")
        if wanted not in candidates:
            raise LowzooError(
                f"the column {wanted!r} of {what} holds no pictures",
                f"Choose one of: {', '.join(candidates)}" if candidates else "Name a table with pictures",
            )
        return wanted, []
    choices = [name for name in candidates if name in _USUAL]
    choices = choices or [name for name in candidates if name.lower() in _IMAGE_NAMES] or list(candidates)
    if not choices:
        raise LowzooError(
            f"no column of {what} holds images, only: {', '.join(names)}", "Name a table with encoded pictures"
        )
    if len(choices) > 1:
        raise LowzooError(
            f"several columns of {what} hold images: {', '.join(choices)}", "Choose one by --image-column"
        )
    note = [] if choices[0] == "image" else [f"pictures are taken from the column {choices[0]!r}"]
    return choices[0], note


def pick_label_column(
    what: str, names: Sequence[str], wanted: str | None, candidates: Sequence[str] | None = None
) -> tuple[str | None, list[str]]:
    """Find the column with the classes.

    Args:
        what: Names the table.
        names: The columns that may be asked for.
        wanted: The user's choice.
        candidates: Those that hold classes by their type; by their usual names where None.

    Returns:
        Its name or None, and what to say.

    Raises:
        LowzooError: The wanted one is not there.
    """
    if wanted is not None:
        if wanted not in names:
            raise LowzooError(f"{what} has no column {wanted!r}, only: {', '.join(names)}", "Choose one of these")
        return wanted, []
    if "label" in names and (candidates is None or "label" in candidates):
        return "label", []
    choices = candidates if candidates is not None else [name for name in names if name.lower() in LABEL_NAMES]
    if not choices:
        return None, []
    if len(choices) > 1:
        return None, [
            f"several columns may hold the classes and none was taken: {', '.join(choices)}; choose by --label-column"
        ]
    return choices[0], [f"classes are taken from the column {choices[0]!r}"]
