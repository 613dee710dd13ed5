"""Artifacts in several files: the first one says by a hash which others belong to it.

Nothing else tells the weights of one export from those of another: runtimes read what lies beside the graph, and where
the sizes fit they compute with it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lowzoo.export.spec.bounds import ParityError
from lowzoo.io.safetensors_file import sha256

PARTS = "lowzoo.parts"


def note_of_parts(path: Path, parts: Iterable[str]) -> dict[str, str]:
    """Metadata of the file at `path`: the hash of each file beside it, by suffix."""
    return {PARTS: json.dumps({part: f"sha256:{sha256(path.with_suffix(part))}" for part in parts})}


def require_parts(path: Path, parts: Iterable[str], notes: Mapping[str, str]) -> None:
    """Refuse an artifact one of whose files is not there, or belongs to another export.

    Raises:
        ParityError: It is one.
    """
    try:
        stated = dict(json.loads(notes.get(PARTS, "{}")))
    except (ValueError, TypeError):
        stated = {}
    for part in parts:
        beside = path.with_suffix(part)
        if not beside.is_file():
            raise ParityError(f"its weights, {beside.name}, do not lie beside it", "Move both files together")
        if part in stated and stated[part] != f"sha256:{sha256(beside)}":
            raise ParityError(
                f"{beside.name} beside it is not the file that it was written with", "Move both files together"
            )
