"""The features that a real browser computes on the page of `lowzoo demo`, as a table for `cross_matrix.py`.

    python benchmarks/cross_browser.py --work DIR --ort-dist DIR [--model rob_vit_tiny]

Chromium gets each labelled picture of the matrix by the page's file picker, prepares it with the page's own code and
runs the exported file by onnxruntime-web. A run that was broken off goes on: what is there stands in DIR/MODEL.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from demo_browser import opened, point, serving, teach
from PIL import Image

import lowzoo
from lowzoo.base.printable import printable
from lowzoo.export.artifacts.places import digest_of
from lowzoo.export.parity.checker import KNN_PICTURES, decoded, open_part, spread
from lowzoo.zoo.digest import weights_digest

TABLE = "browser-fp32.parquet"
_EVERY = 64


def pictures(folder: Path, channels: int) -> dict[str, Path]:
    """The labelled pictures of the matrix as PNG files, by the places that it has them under."""
    source = open_part(None, "train")
    found = {}
    for i in spread(len(source), KNN_PICTURES):
        file = folder / f"{i:05d}.png"
        Image.fromarray(decoded(source, i, channels, None)).save(file)
        found[printable(source.where(i))] = file
    return found


def features(artifact: Path, ort: Path, files: dict[str, Path], kept: Path, work: Path) -> dict[str, list[float]]:
    """What the page computes of each; in `kept` after every few."""
    done: dict[str, list[float]] = json.loads(kept.read_text()) if kept.is_file() else {}
    names = ["one", "two"]
    for i, name in enumerate(names):
        taught = work / "train" / name
        taught.mkdir(parents=True)
        for file in list(files.values())[3 * i : 3 * i + 3]:
            (taught / file.name).write_bytes(file.read_bytes())
    with serving(artifact, ort) as served, chromium.browser() as browser:
        page = opened(browser, served.server.url)
        teach(page, work, names)
        for place, file in files.items():
            if place in done:
                continue
            done[place] = point(page, file)["features"]
            if len(done) % _EVERY == 0 or len(done) == len(files):
                kept.write_text(json.dumps(done))
                print(f"{len(done)} of {len(files)} pictures", flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of cross_matrix.py")
    parser.add_argument("--ort-dist", type=Path, required=True, help="folder of onnxruntime-web")
    parser.add_argument("--model", default="rob_vit_tiny")
    given = parser.parse_args()
    program = chromium.program()
    if program is None:
        raise SystemExit("no Chromium on this machine")
    folder = given.work / given.model
    resolved = lowzoo.load(given.model)
    with tempfile.TemporaryDirectory(prefix="lowzoo-cross-") as place:
        work = Path(place)
        files = pictures(work, resolved.input_size[0])
        artifact = folder / "onnx-fp32.onnx"
        # Of this file alone: what another one has given does not go on.
        kept = folder / f"browser-{digest_of(artifact)[:16]}.json"
        found = features(artifact, given.ort_dist, files, kept, work)
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split(" built")[0].strip()
    runtime: Any = json.loads((given.ort_dist.parent / "package.json").read_text())["version"]
    said = {
        "lowzoo.model": resolved.name,
        "lowzoo.weights": f"sha256:{weights_digest(resolved.model)}",
        "lowzoo.precision": "fp32",
        "lowzoo.engine": f"onnxruntime-web {runtime} in {version}",
    }
    table = pyarrow.table({"path": list(found), "vector": [np.float32(row).tolist() for row in found.values()]})
    parquet.write_table(table.replace_schema_metadata(said), folder / TABLE)
    print(f"Written to {folder / TABLE}")


if __name__ == "__main__":
    main()
