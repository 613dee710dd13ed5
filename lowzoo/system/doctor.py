"""What a report of a bug needs: versions, extras, devices, caches, packages that add to lowzoo."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, entry_points, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.io.cache_folder import cache_folder
from lowzoo.system.cores import usable_cores

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# Variables that change what lowzoo does or where it looks.
_VARIABLES = ("LOWZOO_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Report:
    """What `doctor` found.

    Args:
        system: Python, operating system, processor and cores.
        packages: Version of each package that lowzoo needs; empty where it is missing.
        extras: For each extra, the packages of it that are missing or of another version than it wants.
        devices: What torch can compute on.
        caches: Folders where lowzoo and the Hub keep files, with their sizes in bytes; None where there is none yet.
        variables: Variables of the environment that matter and are set.
        plugins: Packages that add to lowzoo: "group: name (distribution)".
        broken: What is wrong with what lowzoo needs, with the remedy; empty if nothing is.
    """

    system: dict[str, str]
    packages: dict[str, str]
    extras: dict[str, list[str]]
    devices: list[str]
    caches: dict[str, int | None]
    variables: dict[str, str]
    plugins: list[str]
    broken: list[str]

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps({"schema": "lowzoo.doctor/1", **asdict(self)}, indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        for name, value in (*self.system.items(), *self.packages.items()):
            yield f"{name:<18} {value or 'not installed'}"
        yield f"{'devices':<18} {', '.join(self.devices) or 'torch is not there to ask'}"
        for folder, size in self.caches.items():
            yield f"{'cache':<18} {folder} ({'not there yet' if size is None else f'{size / 1e6:.1f} MB'})"
        for name, value in self.variables.items():
            yield f"{name:<18} {value}"
        for plugin in self.plugins:
            yield f"{'adds to lowzoo':<18} {plugin}"
        for extra, missing in self.extras.items():
            yield f"{'lowzoo[' + extra + ']':<18} {'complete' if not missing else 'lacks ' + ', '.join(missing)}"
        yield from (f"Broken: {each}" for each in self.broken)
        if not self.broken:
            yield "Everything that lowzoo itself needs is there."

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        from lowzoo.base import html

        return html.block(self.lines())


def doctor() -> Report:
    """Tell what a report of a bug needs: versions, extras, devices, caches, packages that add to lowzoo.

    The exit status is 1 if a package that lowzoo itself needs is missing, of another version than it wants, or cannot
    be imported.

    Returns:
        What was found.
    """
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires("lowzoo") or []]
    core = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    broken = [f"{said}. Run `pip install '{each}'`" for each in core if (said := _unmet(each))]
    devices, wrong = _devices()
    cores = usable_cores()
    return Report(
        system={
            "lowzoo": version("lowzoo"),
            "python": f"{platform.python_version()} at {sys.executable}",
            "system": platform.platform(),
            "processor": f"{platform.processor() or platform.machine()}, {cores} core{'' if cores == 1 else 's'}",
        },
        packages={each.name: _version(each.name) for each in core},
        extras={extra: _missing(extra, wanted) for extra in metadata("lowzoo").get_all("Provides-Extra") or []},
        devices=devices,
        caches={str(folder): _size(folder) for folder in (cache_folder(""), _hub())},
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        plugins=[
            f"{group.removeprefix('lowzoo.')}: {point.name} ({point.dist.name if point.dist else 'unknown'})"
            for group in sorted(entry_points().groups)
            if group.startswith("lowzoo.")
            for point in entry_points(group=group)
        ],
        broken=[*broken, *wrong],
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _unmet(wanted: "Requirement") -> str:
    """What is wrong with a package; empty if nothing is."""
    found = _version(wanted.name)
    if not found:
        return f"{wanted.name} is not installed"
    if not wanted.specifier.contains(found, prereleases=True):
        return f"{wanted.name} {found} is installed, and {wanted.specifier} is wanted"
    return ""


def _missing(extra: str, wanted: "list[Requirement]") -> list[str]:
    """Packages of an extra, and of the extras that it names, that are missing or do not fit."""
    found: list[str] = []
    for each in wanted:
        if each.marker is None or not each.marker.evaluate({"extra": extra}) or each.marker.evaluate({"extra": ""}):
            continue
        if each.name == "lowzoo":
            found += [name for other in sorted(each.extras) for name in _missing(other, wanted)]
        elif _unmet(each):
            found.append(str(each).partition(";")[0].strip())
    return sorted(set(found))


def _devices() -> tuple[list[str], list[str]]:
    """What torch can compute on, and what is wrong with torch and its companion."""
    try:
        import torch
    except Exception as error:  # a broken installation raises whatever its loader does
        return [], [f"torch cannot be imported ({error}). Install it again"]
    devices: list[str] = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    try:
        import torchvision.ops  # noqa: F401
    except Exception as error:
        reason: Any = " ".join(str(error).split())[:120]
        return devices, [
            f"torchvision does not fit torch {torch.__version__} ({reason}). Install both again from one index: "
            "`pip install --force-reinstall torch torchvision`"
        ]
    return devices, []


def _hub() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _size(folder: Path) -> int | None:
    if not folder.is_dir():
        return None
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
