"""Where the file of a catalog teacher is on this machine; without torch, so that a list can say it."""

import importlib.util
from importlib.resources import files
from pathlib import Path

from lowzoo import catalog
from lowzoo.catalog import TeacherEntry
from lowzoo.io.download import downloads_folder


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
