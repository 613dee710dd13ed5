"""A file that is still arriving, under a name of its own until it is whole."""

import json
from pathlib import Path


class PartialFile:
    """What has arrived of a file, and the server's mark of the version it belongs to.

    Without a mark nobody can tell whether the rest would belong to it, so an unmarked part of an earlier process is
    thrown away.

    Args:
        path: Path of the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")
        try:
            self.mark = str(json.loads(self._note.read_text(encoding="utf-8"))["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            self.mark = ""
        if not self.mark:
            self.discard()

    @property
    def length(self) -> int:
        """Bytes that have arrived."""
        return self.data.stat().st_size if self.data.exists() else 0

    def start(self, etag: str | None, modified: str | None) -> None:
        """Begin anew with the version that these headers mark; a weak etag marks none."""
        self.discard()
        self.mark = etag if etag and not etag.startswith("W/") else modified or ""
        if self.mark:
            self._note.write_text(json.dumps({"mark": self.mark}), encoding="utf-8")

    def discard(self) -> None:
        """Forget what has arrived."""
        self.data.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the whole file its name."""
        self.data.replace(self.path)
        self._note.unlink(missing_ok=True)
