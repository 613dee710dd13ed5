"""What lowzoo writes says so, so that it is not taken for the user's pictures when a folder is read again."""

from pathlib import Path
from typing import TYPE_CHECKING

from lowzoo.io.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image

# A text field of PNG, which both Pillow and matplotlib write in front of the pixels.
PNG_FIELDS = {"Software": "lowzoo"}
_MARK = b"tEXtSoftware\0lowzoo"
HEAD_BYTES = 512
# Key of a parquet file's metadata.
TABLE_KEY = b"lowzoo"


def save_png(image: "Image.Image", path: Path) -> None:
    """Write a picture as a PNG that says who drew it.

    Raises:
        LowzooError: See `atomic_path`.
    """
    from PIL.PngImagePlugin import PngInfo

    fields = PngInfo()
    for name, value in PNG_FIELDS.items():
        fields.add_text(name, value)
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG", optimize=True, pnginfo=fields)


def is_own_png(head: bytes) -> bool:
    """Tell whether a PNG that begins with these `HEAD_BYTES` bytes was drawn by lowzoo."""
    return _MARK in head


def is_run_folder(files: set[str]) -> bool:
    """Tell by the names of a folder's files whether `lowzoo train` made it."""
    return "config.toml" in files and bool(files & {"metrics.jsonl", "run.json"})


def is_own_table(path: Path) -> bool:
    """Tell whether `lowzoo embed` wrote a parquet file; False for what is none, and without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        return False
    try:
        return TABLE_KEY in (parquet.read_schema(path).metadata or {})
    except (pyarrow.ArrowException, OSError):
        return False
