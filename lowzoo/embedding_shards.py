"""Embedding by any number of processes: a folder of parquet shards, each written whole, in the order of the images.

    DIR/embedding.json      what is embedded, by which network, in shards of how many images; written first
    DIR/part-00012.parquet  the images of one shard, as `lowzoo.embed` writes a table
    DIR/part-00012.json     its rows and its checksum; written after it, so a shard without is not there
    DIR/manifest.json       all shards in order, with rows and checksums; written once all are there

A process takes the next shard that is missing and that no other one holds, by a lock that ends with its holder. So
processes need not know of each other: they may be started by torchrun, by a scheduler or by hand, join late, and be
killed. What a killed one held is taken by another, or by the next call.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import writable_folder, write_text

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource
    from lowzoo.features.extraction import Extraction
    from lowzoo.zoo.resolve import Resolved

SHARD = 8192
_HEAD, _MANIFEST = "embedding.json", "manifest.json"


@dataclass(frozen=True)
class EmbeddedShards:
    """What a call found and did.

    Args:
        folder: Folder of the shards.
        images: Images that are embedded, by all calls and processes so far.
        skipped: Images that could not be read.
        shards: Shards in all.
        written: Shards that this process wrote.
        left: Shards that are missing still, or that another process is writing.
    """

    folder: Path
    images: int
    skipped: int
    shards: int
    written: int
    left: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "images": self.images,
            "skipped": self.skipped,
            "out": str(self.folder),
            "shards": self.shards,
            "written": self.written,
            "left": self.left,
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        there = self.shards - self.left
        yield f"Embedded: {self.images} images in {there} of {self.shards} shards, {self.skipped} cannot be read"
        yield f"This process wrote {self.written} shards to {self.folder}"
        if self.left:
            yield f"{self.left} shards are being written by other processes, or will be by the next call"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def is_folder(out: str | Path) -> bool:
    """Whether a place to write to means a folder of shards: it ends in a stroke, is a folder, or has no suffix."""
    return str(out).endswith("/") or Path(out).is_dir() or not Path(out).suffix


def embed_shards(
    resolved: "Resolved",
    source: "ImageSource",
    folder: Path,
    how: "Extraction",
    *,
    rows: int = SHARD,
    first: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> EmbeddedShards:
    """Write the shards that are missing and that no other process holds.

    Args:
        resolved: The network.
        source: The images.
        folder: Where shards go.
        how: How features are computed.
        rows: Images in a shard.
        first: Shard to begin with, so that processes do not all ask for the same ones.
        say: Takes lines.

    Raises:
        LowzooError: The folder holds other embeddings, or cannot be written to; a tenth of a shard cannot be read.
    """
    begin(resolved, source, folder, how, rows)
    count = -(-len(source) // rows)
    order = [(first + number) % count for number in range(count)]
    written = sum(write_shard(resolved, source, folder, how, number, rows, say) for number in order)
    return summary(folder, count, written)


def begin(resolved: "Resolved", source: "ImageSource", folder: Path, how: "Extraction", rows: int) -> None:
    """Write down what the folder will hold, or refuse one that holds something else.

    Raises:
        LowzooError: It does; every difference is named.
    """
    from lowzoo.evaluate.embeddings import require_pyarrow
    from lowzoo.evaluate.result import ModelFacts

    require_pyarrow()
    writable_folder(folder)
    head = {
        "model": ModelFacts.of(resolved).model_dump(),
        "input_size": list(resolved.input_size),
        "precision": how.precision,
        "data": {"name": source.name, "fingerprint": source.fingerprint(), "images": len(source)},
        "rows": rows,
        **({"compatible": resolved.compatible.as_dict()} if resolved.compatible else {}),
    }
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = folder / _HEAD
        if not file.exists():
            if any(folder.glob("part-*.parquet")):
                raise LowzooError(f"{folder} holds shards of something else", "Name another folder with --out")
            write_text(file, json.dumps(head, indent=2) + "\n")
            return
    before = json.loads(file.read_text(encoding="utf-8"))
    if differing := [key for key in head if before.get(key) != head[key]]:
        raise LowzooError(
            f"{folder} holds the embeddings of another call: {', '.join(differing)} differ", "Name another folder"
        )


def write_shard(
    resolved: "Resolved",
    source: "ImageSource",
    folder: Path,
    how: "Extraction",
    number: int,
    rows: int,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Write one shard; returns False where it is there, or another process holds it."""
    import numpy as np

    from lowzoo.evaluate.embeddings import write_embeddings
    from lowzoo.features.features import extract_features

    lock_file = folder / f".part-{number:05}.lock"
    with lock_file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if is_whole(folder, number):
            return False
        start = number * rows
        part = source.subset(np.arange(start, min(start + rows, len(source))))
        features = extract_features(
            resolved,
            part,
            device=how.device,
            workers=how.workers,
            precision=how.precision,
            batch_size=how.batch_size,
            progress=False,
            cache=False,
        )
        file = folder / f"part-{number:05}.parquet"
        write_embeddings(file, part, features, resolved)
        facts = {
            "file": file.name,
            "first": start,
            "images": len(part),
            "rows": len(features.x),
            "skipped": features.skipped,
            "sha256": _digest(file),
        }
        write_text(file.with_suffix(".json"), json.dumps(facts) + "\n")
        say(f"{file.name}: {len(features.x)} images")
    return True


def is_whole(folder: Path, number: int) -> bool:
    """Whether a shard is there as it was written."""
    facts = _facts(folder, number)
    return facts is not None and _digest(folder / facts["file"]) == facts["sha256"]


def summary(folder: Path, count: int, written: int) -> EmbeddedShards:
    """What is there now; once that is everything, its manifest is written."""
    found = [_facts(folder, number) for number in range(count)]
    there = [facts for facts in found if facts is not None]
    images, skipped = (sum(facts[key] for facts in there) for key in ("rows", "skipped"))
    if len(there) == count:
        head = json.loads((folder / _HEAD).read_text(encoding="utf-8"))
        whole = head | {"order": "of the images", "embedded": images, "skipped": skipped, "shards": there}
        write_text(folder / _MANIFEST, json.dumps(whole, indent=2) + "\n")
        for lock in folder.glob(".part-*.lock"):
            lock.unlink(missing_ok=True)
    return EmbeddedShards(folder, images, skipped, count, written, count - len(there))


def _facts(folder: Path, number: int) -> dict[str, Any] | None:
    file = folder / f"part-{number:05}.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return facts if (folder / facts["file"]).exists() else None


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
