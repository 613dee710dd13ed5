"""Embedding by 1, 2 and 4 processes and by a Ray cluster of two nodes: same rows, flat memory, nothing lost by a kill.

    python benchmarks/embed_scale.py [--images 200000] [--side 32] [--shard 4096] [--out DIR] [--work DIR] [--no-ray]

Generated pictures (PNG in parquet) are embedded by a small network at 32 px, one way after the other. What has
to hold: rows within 1e-6 of those of one process, in the same order; a process that is killed in the middle, by SIGKILL
once a quarter of the shards is there, leaves nothing out and nothing twice; a second call writes nothing. Images/s are
by the clock, all in one run, so their ratios count and not the figures; memory is the largest peak of a process, beside
the peak after a tenth of the images, than which it may be a tenth larger. A call that was ended goes on with the ways
that are missing in --work; what a way had begun has to be deleted there, else its time is that of the rest.
"""

import argparse
import io
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

# What a process may grow by after its first shards.
FLAT = 1.1
CHILD = """
import json, sys, time, torch
torch.set_num_threads(int(sys.argv[5]))
import lowzoo
from lowzoo.system.memory import peak_memory_mb
peaks: list = []
began = time.monotonic()
found = lowzoo.embed(sys.argv[1], model=sys.argv[2], out=sys.argv[3], shard=int(sys.argv[4]), image_size=32,
                     device="cpu", progress=lambda line: peaks.append(peak_memory_mb()), engine=sys.argv[6],
                     address=sys.argv[7] or None)
print(json.dumps({"seconds": time.monotonic() - began, "peak_mb": peak_memory_mb(),
                  "cpu_seconds": time.process_time(),
                  "early_mb": peaks[min(len(peaks) - 1, max(3, len(peaks) // 10))] if peaks else 0,
                  **found.as_dict()}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--shard", type=int, default=4096)
    parser.add_argument("--architecture", default="mobilenetv3_small_050", help="of timm, with random weights")
    parser.add_argument("--work", type=Path, default=Path("embed_scale"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--no-ray", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.model = f"local-dir:{network(options.work / options.architecture, options.architecture)}"
    data = pictures(options.work / f"pictures-{options.images}.parquet", options.images, options.side)
    kept = options.work / f"rows-{options.images}.json"
    rows: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        f"{count} processes": partial(timed, options, data, f"p{count}", count) for count in (1, 2, 4)
    }
    ways["2 processes, one killed"] = partial(killed, options, data)
    if not options.no_ray:
        ways["Ray, two nodes"] = partial(by_ray, options, data)
    for name, way in ways.items():
        if name not in rows:
            rows[name] = way()
            print(f"{name}: {json.dumps(rows[name])}", flush=True)
            kept.write_text(json.dumps(rows), encoding="utf-8")
    first = vectors(options.work / "p1")
    for name, folder in (
        ("2 processes", "p2"),
        ("4 processes", "p4"),
        ("2 processes, one killed", "pk"),
        ("Ray, two nodes", "ray"),
    ):
        if name in rows:
            paths, found = vectors(options.work / folder)
            same = paths == first[0] and len(set(paths)) == options.images
            rows[name] |= {
                "same_order": same,
                "largest_difference": float(np.abs(found - first[1]).max()) if same else None,
            }
    again = timed(options, data, "p1", 1)
    rows["a second call"] = {"written": again["written"], "seconds": again["seconds"]}
    result = {
        "images": options.images,
        "side": options.side,
        "shard": options.shard,
        "architecture": options.architecture,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "embed_scale.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    wrong = [
        name
        for name, row in rows.items()
        if row.get("largest_difference", 0) is None or row.get("largest_difference", 0) > 1e-6
    ]
    wrong += ["a second call"] if again["written"] else []
    # Ray's workers are not this call's processes.
    wrong += [
        f"{name}: memory grows"
        for name, row in rows.items()
        if "processes" in name and row.get("peak_mb", 0) > FLAT * row.get("early_mb", 0)
    ]
    print(f"Wrong: {', '.join(wrong) or 'nothing'}")
    return 1 if wrong else 0


def network(folder: Path, architecture: str) -> Path:
    """A network of random weights for pictures of 32 px, in a folder: what it says of them does not matter."""
    if (folder / "config.json").exists():
        return folder
    folder.mkdir()
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=0)
    save_file(model.state_dict(), folder / "model.safetensors")
    facts = {key: model.pretrained_cfg[key] for key in ("mean", "std", "interpolation", "first_conv", "classifier")}
    cfg = {**facts, "input_size": [3, 32, 32], "crop_pct": 1.0, "num_classes": 0}
    config = {"architecture": architecture, "num_classes": 0, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def pictures(file: Path, count: int, side: int) -> Path:
    """A parquet file of smooth random pictures."""
    if file.exists():
        return file
    rng = np.random.default_rng(0)
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])
    temporary = file.with_suffix(".part")
    with pq.ParquetWriter(temporary, schema) as out:
        for start in range(0, count, 5000):
            rows = []
            for number in range(start, min(start + 5000, count)):
                small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
                content = io.BytesIO()
                small.resize((side, side), Image.Resampling.BICUBIC).save(content, "PNG", compress_level=1)
                rows.append({"image": {"bytes": content.getvalue(), "path": f"{number:07}.png"}, "label": number % 10})
            out.write_table(pa.Table.from_pylist(rows, schema=schema))
    temporary.replace(file)
    return file


def start(
    options: argparse.Namespace, data: Path, name: str, rank: int, of: int, engine: str = "processes", address: str = ""
) -> "subprocess.Popen[str]":
    environment = os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(of)}
    threads = max(1, (os.cpu_count() or 1) // of)
    words = [str(data), options.model, f"{options.work / name}/", str(options.shard), str(threads), engine, address]
    return subprocess.Popen([sys.executable, "-c", CHILD, *words], env=environment, stdout=subprocess.PIPE, text=True)


def finished(options: argparse.Namespace, processes: "list[subprocess.Popen[str]]", seconds: float) -> dict[str, Any]:
    found = []
    for process in processes:
        text, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a process ended with {process.returncode}")
        found.append(json.loads(text.strip().splitlines()[-1]))
    return {
        "images_per_s": round(options.images / seconds, 1),
        "seconds": round(seconds, 1),
        "written": sum(row["written"] for row in found),
        "peak_mb": max(row["peak_mb"] for row in found),
        "early_mb": max(row["early_mb"] for row in found),
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in found), 1),
    }


def timed(options: argparse.Namespace, data: Path, name: str, count: int) -> dict[str, Any]:
    began = time.monotonic()
    processes = [start(options, data, name, rank, count) for rank in range(count)]
    for process in processes:
        process.wait()
    return finished(options, processes, time.monotonic() - began)


def killed(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Two processes, of which one is killed once a quarter of the shards is there."""
    folder, shards = options.work / "pk", -(-options.images // options.shard)
    processes = [start(options, data, "pk", rank, 2) for rank in range(2)]
    while len(list(folder.glob("part-*.json"))) < shards / 4 and processes[0].poll() is None:
        time.sleep(0.1)
    victim = processes.pop()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    there = len(list(folder.glob("part-*.json")))
    began = time.monotonic()
    row = finished(options, processes, 1.0)
    last = start(options, data, "pk", 0, 1)
    rest = finished(options, [last], 1.0)
    return {
        "killed_at": f"{there} of {shards} shards",
        "survivor_wrote": row["written"],
        "next_call_wrote": rest["written"],
        "seconds": round(time.monotonic() - began, 1),
    }


def by_ray(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """A cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        began = time.monotonic()
        process = start(options, data, "ray", 0, 1, "ray", cluster.address)
        process.wait()
        return finished(options, [process], time.monotonic() - began)
    finally:
        cluster.shutdown()


def vectors(folder: Path) -> tuple[list[str], "np.ndarray[Any, Any]"]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("part-*.parquet"))]
    paths = [path for table in tables for path in table["path"].to_pylist()]
    flat = [table["vector"].combine_chunks().flatten().to_numpy() for table in tables]
    return paths, np.concatenate(flat).reshape(len(paths), -1)


if __name__ == "__main__":
    sys.exit(main())
