"""What a teacher cache was made from, and the refusal of one that was made from something else."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import write_text
from lowzoo.train.views import ViewGroup

_FILE = "cache.json"
_VERSION = 1
# Kept for the reader. The checksum tells teachers apart, versions change no row by more than rounding, and the views of
# an epoch are the same however many epochs follow: a longer run goes on filling, a shorter one uses the beginning.
_NOT_COMPARED = ("teacher", "made_with", "view_epochs")


@dataclass(frozen=True)
class CacheIdentity:
    """Everything that a cached row depends on.

    Args:
        teacher: The word that named it.
        teacher_checksum: Digest of all its weights, head included.
        head: Kind of its head.
        bottleneck: Width D' of what its fixed last layer works on.
        precision: In which its backbone computes.
        views: The groups of views of the run; those that are not global are left out.
        seed: Random seed of the run, which the views are drawn from.
        data: Fingerprint of the source.
        count: Images in it.
        view_epochs: Epochs after which global views repeat.
    """

    teacher: str
    teacher_checksum: str
    head: str
    bottleneck: int
    precision: str
    views: tuple[ViewGroup, ...]
    seed: int
    data: str
    count: int
    view_epochs: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(group for group in self.views if group.name == "global"))

    @property
    def views_per_image(self) -> int:
        """Number of global views G."""
        return sum(group.count for group in self.views)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        groups = [group.model_dump(mode="json") for group in self.views]
        return {"version": _VERSION, **vars(self), "dtype": "float16", "views": groups}


def check_identity(folder: Path, identity: CacheIdentity, *, create: bool) -> None:
    """Compare with what `folder` says about itself.

    Args:
        folder: Folder of the cache.
        identity: What is wanted.
        create: Write it down where the folder says nothing yet.

    Raises:
        LowzooError: The cache is not there, not readable, or differs; each differing field is named.
    """
    file = folder / _FILE
    wanted = identity.as_dict()
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("no table")
    except FileNotFoundError:
        if not create:
            raise LowzooError(f"there is no teacher cache in {folder}", "Name the folder of one") from None
        made_with = {package: version(package) for package in ("lowzoo", "torch")}
        write_text(file, json.dumps({**wanted, "made_with": made_with}, indent=2) + "\n")
        return
    except (OSError, ValueError) as error:
        raise LowzooError(f"cannot read {file}: {error}", "Delete the folder, or name another one") from error
    here, there = _flat(wanted), _flat(stored)
    differences = [
        f"{key} is {there.get(key, 'absent')} there and {here.get(key, 'absent')} here"
        for key in sorted(here.keys() | there.keys())
        if key.partition(".")[0] not in _NOT_COMPARED and here.get(key) != there.get(key)
    ]
    if differences:
        raise LowzooError(
            f"the teacher cache {folder} was made for something else: {'; '.join(differences)}",
            "Name another folder with --teacher-cache, or delete this one",
        )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Leaves by their dotted names."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = {str(i): item for i, item in enumerate(value)}.items()
    else:
        return {name: value}
    return {
        key: leaf for part, item in items for key, leaf in _flat(item, f"{name}.{part}" if name else str(part)).items()
    }
