"""The folder where lowzoo keeps what it can compute again."""

import os
from pathlib import Path


def cache_folder(room: str) -> Path:
    """Name the cache folder `room`: under ``$LOWZOO_CACHE``, else under ``~/.cache/lowzoo``. It may not exist yet."""
    root = os.environ.get("LOWZOO_CACHE")
    return (Path(root).expanduser() if root else Path.home() / ".cache" / "lowzoo") / room
