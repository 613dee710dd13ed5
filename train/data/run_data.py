"""Which images a run is trained on: written down at its start, and compared when it goes on."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.printable import printable
from lowzoo.data.source import ImageSource
from lowzoo.io.files import write_text

_FILE = "data.json"
# What decides the pixels and the classes; the name of a set and its place do not.
_COMPARED = {
    "fingerprint": "the pictures, or how they are read,",
    "labels": "the classes",
}


def facts_of(source: ImageSource, unreadable: int = 0, odd: Mapping[str, int] = {}) -> dict[str, Any]:
    """What identifies and describes a source.

    Args:
        source: The images.
        unreadable: How many of them could not be read, repeats counted.
        odd: How many were odd, in each way.
    """
    return {
        "name": printable(source.name),
        "images": len(source),
        "fingerprint": source.fingerprint(),
        "labels": source.labels_digest(),
        "orientation": source.rules.orientation,
        "intensity": str(source.rules.intensity),
        "files": source.found.files,
        "left_out": {printable(kind): count for kind, count in source.found.left_out},
        "notes": [printable(note) for note in source.found.notes],
        "unreadable": unreadable,
        "odd": dict(odd),
    }


def holds_out(folder: Path) -> bool | None:
    """Whether the run in a folder was begun with held-out images; None where it does not say."""
    try:
        begun: bool = json.loads((folder / _FILE).read_text(encoding="utf-8"))["held_out"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return begun


def remember(
    folder: Path, source: ImageSource, held_out: ImageSource | None, *, resume: bool, say: Callable[[str], None]
) -> None:
    """Write `data.json`, or compare it where a run goes on.

    Args:
        folder: Folder of the run.
        source: Training images.
        held_out: Images of the monitor.
        resume: Whether the run goes on.
        say: Receives a line where nothing can be compared.

    Raises:
        LowzooError: The run was begun with other images; what differs is named.
    """
    now = {"train": facts_of(source), "held_out": facts_of(held_out) if held_out is not None else None}
    file = folder / _FILE
    if resume and file.exists():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            changes = [*_changes("training", before["train"], now["train"])]
            changes += _changes("held-out", before["held_out"], now["held_out"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise LowzooError(f"cannot read {file}: {error}", "Start another run with --out") from error
        if changes:
            raise LowzooError(
                f"the run in {folder} was begun with other images: {'; '.join(changes)}",
                "Name the same --data, or start another run with --out",
            )
        return
    if resume:
        say("This run does not say which images it was begun with; those of now are taken for them")
    write_text(file, json.dumps(now, indent=2) + "\n")


def _changes(part: str, before: dict[str, Any] | None, now: dict[str, Any] | None) -> list[str]:
    if before is None or now is None:
        return [] if before is now else [f"there were {'no ' if before is None else ''}{part} images"]
    different = [what for key, what in _COMPARED.items() if before[key] != now[key]]
    counts = f" ({before['images']} images, now {now['images']})" if before["images"] != now["images"] else ""
    return [f"{' and '.join(different)} of the {part} set differ{counts}"] if different else []
