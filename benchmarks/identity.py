"""What it costs to know a folder of pictures by its content, first and later, beside names and sizes alone.

    python benchmarks/identity.py --data PARQUET_OR_FOLDER [--images 50000] [--out benchmarks/results/identity.json]

Writes the pictures of a source as files into a scratch folder, waits until they count as settled, and times in one
process, by the clock: listing the folder; a digest of names and sizes, which is how data was known before and which
replaced pictures pass; the fingerprint over the bytes, with an empty memory, again from the memory in a new process,
and again after ten pictures were replaced. What has to hold: the second fingerprint is the first one, the third is
another, and the second takes at most 5 s for 50,000 pictures.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from lowzoo.data.source import open_source
from lowzoo.evaluate.result import versions
from lowzoo.io.files import write_text

_MOST_SECONDS = 5.0
_MEASURE = """
import json, sys, time
from lowzoo.data.source import open_source
began = time.perf_counter()
source = open_source(sys.argv[1])
listed = time.perf_counter()
found = source.fingerprint()
print(json.dumps({"list_s": listed - began, "fingerprint_s": time.perf_counter() - listed, "fingerprint": found}))
"""


def names_and_sizes(folder: Path) -> float:
    """Seconds for a digest of what `os.stat` says."""
    began = time.perf_counter()
    paths = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    digest = sha256("".join(paths).encode())
    for path in paths:
        digest.update(os.stat(path).st_size.to_bytes(8))
    return time.perf_counter() - began


def fingerprint(folder: Path, cache: Path) -> dict[str, Any]:
    """Time a fresh process."""
    environment = os.environ | {"LOWZOO_CACHE": str(cache)}
    command = [sys.executable, "-c", _MEASURE, str(folder)]
    found: dict[str, Any] = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/identity.json"))
    arguments = parser.parse_args()
    source = open_source(arguments.data)
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch) / "pictures", Path(scratch) / "cache"
        total = 0
        for index in range(min(arguments.images, len(source))):
            path = folder / f"{index % 100:02}" / f"{index:06}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            total += path.write_bytes(source.encoded(index))
        time.sleep(5)
        old = names_and_sizes(folder)
        first, second = fingerprint(folder, cache), fingerprint(folder, cache)
        for index in range(10):
            path = folder / f"{index:02}" / f"{index:06}.jpg"
            path.write_bytes(bytes(reversed(path.read_bytes())))
        third = fingerprint(folder, cache)
    report = {
        "images": min(arguments.images, len(source)),
        "megabytes": round(total / 1e6, 1),
        "names_and_sizes_s": round(old, 2),
        "list_s": round(first["list_s"], 2),
        "first_s": round(first["fingerprint_s"], 2),
        "second_s": round(second["fingerprint_s"], 2),
        "after_ten_changed_s": round(third["fingerprint_s"], 2),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }
    write_text(arguments.out, json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    right = first["fingerprint"] == second["fingerprint"] != third["fingerprint"]
    return 0 if right and second["fingerprint_s"] <= _MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
