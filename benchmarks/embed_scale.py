"""Embedding by 1, 2 and 4 processes and by a Ray cluster of two nodes: same rows, flat memory, nothing lost by a kill.

    python benchmarks/embed_scale.py [--images 200000] [--side 32] [--shard 4096] [--out DIR] [--work DIR] [--no-ray]

Generated pictures (JPEGs in parquet) are embedded by a small network at 32 px, one way after the other. What has
to hold: rows within 1e-6 of those of one process, in the same order; a process (or an actor of the cluster) that is
killed in the middle, by SIGKILL once a quarter of the shards is there, leaves nothing out and nothing twice; a second
call writes nothing. Images/s are by the clock, all in one run, so their ratios count and not the figures: beside them
stands the load of the machine. Memory is what the largest process holds for itself (RssAnon, without pages of mapped
files), sampled as the shards come; at the end it may be a tenth larger than after the first tenth of the images. A call
that was ended goes on with the ways that are missing in --work; what a way had begun has to be deleted there, else its
time is that of the rest.

Each process has one thread: on a core that other work shares, two of them mostly wait for each other (14 times the time
of a core was seen).

Ray starts its workers with niceness 15. On a machine with other work they get next to nothing of the cores, and actors
that only import torch stay "pending" for minutes: the cluster that is made here has niceness 0.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
from safetensors.torch import save_file

# What a process may grow by after the first tenth of its shards.
FLAT = 1.1
# Seconds between two looks at the memory.
EVERY = 2.0
CHILD = """
import json, sys, time, torch
torch.set_num_threads(1)
import lowzoo
from lowzoo.system.memory import peak_memory_mb
began = time.monotonic()
found = lowzoo.embed(sys.argv[1], model=sys.argv[2], out=sys.argv[3], shard=int(sys.argv[4]), image_size=32,
                     device="cpu", progress=lambda line: print(line, file=sys.stderr), engine=sys.argv[5],
                     address=sys.argv[6] or None)
print(json.dumps({"seconds": time.monotonic() - began, "peak_mb": peak_memory_mb(),
                  "cpu_seconds": time.process_time(), **found.as_dict()}))
"""
RAY_ACTOR = "ray::MapWorker"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--shard", type=int, default=4096)
    parser.add_argument("--architecture", default="test_resnet", help="of timm, with random weights")
    parser.add_argument("--work", type=Path, default=Path("embed_scale"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--no-ray", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.model = f"local-dir:{network(options.work / options.architecture, options.architecture)}"
    data = pictures(options.work / f"pictures-{options.images}.parquet", options.images, options.side)
    kept = options.work / f"rows-{options.images}.json"
    rows: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    ways: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        f"{count} process{'es' * (count > 1)}": (f"p{count}", partial(timed, options, data, f"p{count}", count))
        for count in (1, 2, 4)
    }
    ways["2 processes, one killed"] = "pk", partial(killed, options, data)
    if not options.no_ray:
        ways["Ray, two nodes"] = "ray", partial(by_ray, options, data, "ray")
        ways["Ray, two nodes, an actor killed"] = "rayk", partial(by_ray, options, data, "rayk", kill=True)
    for name, (_, way) in ways.items():
        if name not in rows:
            rows[name] = way() | {"load": round(os.getloadavg()[0], 1)}
            print(f"{name}: {json.dumps(rows[name])}", flush=True)
            kept.write_text(json.dumps(rows), encoding="utf-8")
    first = vectors(options.work / "p1")
    for name, (folder, _) in ways.items():
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
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared with other work: see each row's load",
        "versions": {"torch": torch.__version__, "python": platform.python_version(), "ray": ray_version()},
        "rows": rows,
    }
    wrong = faults(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "embed_scale.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = "\n".join(report(result, wrong)) + "\n"
    (options.out / "embed_scale.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if wrong else 0


def faults(rows: dict[str, Any]) -> list[str]:
    """What does not hold."""
    wrong = []
    for name, row in rows.items():
        if (difference := row.get("largest_difference", 0.0)) is None or difference > 1e-6:
            wrong.append(f"{name}: other rows")
        memory = row.get("memory_mb")
        if memory is not None and (missing := [f"{at} %" for at in ("10", "100") if at not in memory]):
            wrong.append(f"{name}: no memory was seen at {' and '.join(missing)}")
        elif memory is not None and memory["100"] > FLAT * memory["10"]:
            wrong.append(f"{name}: memory grows")
        if row.get("killed_at", "some shards") is None:
            wrong.append(f"{name}: nothing was killed")
    if rows["a second call"]["written"]:
        wrong.append("a second call writes")
    return wrong


def report(result: dict[str, Any], wrong: list[str]) -> Iterator[str]:
    """The lines of a page."""
    yield "# Embedding by several processes and by Ray"
    yield ""
    yield (
        f"`embed_scale.py --images {result['images']} --shard {result['shard']}`: pictures of {result['side']} px, "
        f"{result['architecture']} of timm with random weights, one thread a process. "
        f"{result['machine']}; torch {result['versions']['torch']}, Ray {result['versions']['ray']}."
    )
    yield ""
    yield (
        "Memory is what the largest process holds for itself, while the first tenth, the fifth and the last tenth of "
        "the shards came. Seconds hold the start of the processes. Where the load is beyond the cores, images/s tell "
        "of what else the machine did, not of the way."
    )
    yield ""
    yield "| way | images/s | seconds | load after | MB at 10, 50, 100 % | largest difference |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, row in result["rows"].items():
        if "images_per_s" in row:
            held = [row["memory_mb"].get(at) for at in ("10", "50", "100")]
            memory = ", ".join("-" if each is None else str(round(each)) for each in held)
            difference = row["largest_difference"]
            shown = "other rows" if difference is None else f"{difference:.1e}"
            yield f"| {name} | {row['images_per_s']} | {row['seconds']} | {row['load']} | {memory} | {shown} |"
    yield ""
    for name, row in result["rows"].items():
        if "killed_at" in row:
            wrote = "".join(f", {key.replace('_', ' ')} {row[key]}" for key in row if key.endswith("_wrote"))
            there = "every image is there once" if row["same_order"] else "images are missing or there twice"
            killed = f"killed with {row['killed_at']} written" if row["killed_at"] else "nothing was killed"
            yield f"- {name}: {killed}{wrote}; {there}."
    again = result["rows"]["a second call"]
    yield f"- A second call wrote {again['written']} shards in {again['seconds']} s."
    yield f"- Wrong: {', '.join(wrong) or 'nothing'}."


def ray_version() -> str:
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


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
    """A parquet file of smooth random pictures, as JPEGs."""
    if file.exists():
        return file
    rng = np.random.default_rng(0)
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    temporary = file.with_suffix(".part")
    with pq.ParquetWriter(temporary, pa.schema([("image", picture), ("label", pa.int64())])) as out:
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            small = rng.integers(0, 256, (len(numbers), 4, 4, 3), dtype=np.uint8)
            large = (cv2.resize(each, (side, side), interpolation=cv2.INTER_CUBIC) for each in small)
            encoded = pa.array([cv2.imencode(".jpg", each)[1].tobytes() for each in large], pa.binary())
            names = pa.array([f"{number:07}.jpg" for number in numbers])
            rows = pa.StructArray.from_arrays([encoded, names], names=["bytes", "path"])
            labels = pa.array([number % 10 for number in numbers], pa.int64())
            out.write_table(pa.table({"image": rows, "label": labels}))
    temporary.replace(file)
    return file


def start(
    options: argparse.Namespace, data: Path, name: str, rank: int, of: int, engine: str = "processes", address: str = ""
) -> "subprocess.Popen[str]":
    environment = os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(of)}
    words = [str(data), options.model, f"{options.work / name}/", str(options.shard), engine, address]
    return subprocess.Popen([sys.executable, "-c", CHILD, *words], env=environment, stdout=subprocess.PIPE, text=True)


def watched(
    options: argparse.Namespace,
    folder: Path,
    processes: "list[subprocess.Popen[str]]",
    measured: Callable[[], list[int]],
    at_a_quarter: Callable[[], bool] = lambda: True,
) -> dict[str, float]:
    """Wait for processes; the most memory of one while each tenth of the shards was made, in MB.

    Args:
        options: Those of the call.
        folder: Folder of the shards.
        processes: They are waited for.
        measured: Process numbers of those that hold the network.
        at_a_quarter: Called once a quarter of the shards is there, again and again until it says that it is done.
    """
    shards, memory, called = -(-options.images // options.shard), dict[str, float](), False
    while any(process.poll() is None for process in processes):
        there = len(list(folder.glob("part-*.json")))
        if there >= shards / 4 and not called:
            called = at_a_quarter()
        # Before the first shard a process imports what it needs.
        tenth = str(10 * max(1, -(-10 * there // shards)))
        if there and (held := [own_memory_mb(pid) for pid in measured()]):
            memory[tenth] = max(memory.get(tenth, 0), *held)
        time.sleep(EVERY)
    return memory


def own_memory_mb(pid: int) -> float:
    """What a process holds for itself, without pages of files that it has mapped; 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")]
    return round(found[0] * 1024 / 1e6, 1) if found else 0.0


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
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in found), 1),
    }


def timed(options: argparse.Namespace, data: Path, name: str, count: int) -> dict[str, Any]:
    began = time.monotonic()
    processes = [start(options, data, name, rank, count) for rank in range(count)]
    memory = watched(options, options.work / name, processes, lambda: [process.pid for process in processes])
    return finished(options, processes, time.monotonic() - began) | {"memory_mb": memory}


def killed(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Two processes, of which one is killed once a quarter of the shards is there; then a call for the rest, if any."""
    folder = options.work / "pk"
    began = time.monotonic()
    survivor, victim = (start(options, data, "pk", rank, 2) for rank in range(2))
    at: list[int] = []

    def kill() -> bool:
        if victim.poll() is None:
            victim.kill()
            if victim.wait() == -signal.SIGKILL:
                at.append(len(list(folder.glob("part-*.json"))))
        return True  # it may have ended before

    memory = watched(options, folder, [survivor, victim], lambda: [survivor.pid], kill)
    row = finished(options, [survivor], time.monotonic() - began)
    rest = finished(options, [start(options, data, "pk", 0, 1)], 1.0)
    shards = -(-options.images // options.shard)
    return row | {
        "memory_mb": memory,
        "killed_at": f"{at[0]} of {shards} shards" if at else None,
        "survivor_wrote": row["written"],
        "next_call_wrote": rest["written"],
    }


def by_ray(options: argparse.Namespace, data: Path, name: str, *, kill: bool = False) -> dict[str, Any]:
    """A cluster of two nodes on this machine, of which an actor may be killed once a quarter of the shards is there."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - the name that Ray gave it; read by what starts the nodes
    from ray.cluster_utils import Cluster

    folder, at = options.work / name, list[int]()

    def end_one() -> bool:
        for pid in actors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                at.append(len(list(folder.glob("part-*.json"))))
                return True
        return False

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        began = time.monotonic()
        process = start(options, data, name, 0, 1, "ray", cluster.address)
        memory = watched(options, folder, [process], actors, end_one if kill else lambda: None)
        row = finished(options, [process], time.monotonic() - began) | {"memory_mb": memory}
    finally:
        cluster.shutdown()
    del row["cpu_seconds"], row["peak_mb"]  # of the process that asks; actors do the work
    shards = -(-options.images // options.shard)
    return row | ({"killed_at": f"{at[0]} of {shards} shards" if at else None} if kill else {})


def actors() -> list[int]:
    """Process numbers of the actors that hold the network, of the cluster that this program has started alone."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            if (each.cmdline() or [""])[0].startswith(RAY_ACTOR):
                found.append(each.pid)
    return found


def vectors(folder: Path) -> tuple[list[str], "np.ndarray[Any, Any]"]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("part-*.parquet"))]
    paths = [path for table in tables for path in table["path"].to_pylist()]
    flat = [table["vector"].combine_chunks().flatten().to_numpy() for table in tables]
    return paths, np.concatenate(flat).reshape(len(paths), -1)


if __name__ == "__main__":
    sys.exit(main())
