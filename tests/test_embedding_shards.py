"""A folder of shards: the rows of one table, made by any number of processes, gone on with after a kill."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.embedding_frames import FrameEmbedder, over_frames
from lowzoo.embedding_ray import actor_device, reason_in
from tests.helpers.evaluate import write_network, write_pictures

parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_pictures(folder / "d", {"train": 7})
    write_network(folder / "net")
    return folder


def _rows(folder: Path) -> tuple[list[str], np.ndarray]:
    tables = [parquet.read_table(file) for file in sorted(folder.glob("part-*.parquet"))]
    return (
        [path for table in tables for path in table["path"].to_pylist()],
        np.array([vector for table in tables for vector in table["vector"].to_pylist()], np.float32),
    )


def _embed(world: Path, out: Path, **options: object) -> object:
    return lowzoo.embed(
        world / "d" / "train", model=f"local-dir:{world / 'net'}", out=f"{out}/", shard=4, device="cpu", **options
    )


def test_shards_hold_the_rows_of_the_table_in_its_order(world: Path, tmp_path: Path) -> None:
    whole = lowzoo.embed(world / "d" / "train", model=f"local-dir:{world / 'net'}", device="cpu")
    found = _embed(world, tmp_path / "shards")
    assert (found.images, found.shards, found.written, found.left) == (21, 6, 6, 0)
    paths, vectors = _rows(tmp_path / "shards")
    assert paths == whole.paths
    np.testing.assert_allclose(vectors, whole.vectors, atol=1e-6)
    manifest = json.loads((tmp_path / "shards" / "manifest.json").read_text())
    assert [shard["first"] for shard in manifest["shards"]] == [0, 4, 8, 12, 16, 20]
    assert sum(shard["rows"] for shard in manifest["shards"]) == manifest["embedded"] == 21


def test_a_second_call_makes_what_is_missing_or_damaged_and_nothing_else(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    _embed(world, out)
    before = _rows(out)
    (out / "part-00001.parquet").unlink()
    (out / "part-00003.parquet").write_bytes(b"PAR1")
    times = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*.parquet")}
    assert _embed(world, out).written == 2
    after = _rows(out)
    assert after[0] == before[0]
    np.testing.assert_array_equal(after[1], before[1])
    kept = ("part-00000.parquet", "part-00002.parquet", "part-00005.parquet")
    assert all((out / name).stat().st_mtime_ns == times[name] for name in kept)
    assert _embed(world, out).written == 0


def test_a_folder_of_other_embeddings_is_refused(world: Path, tmp_path: Path) -> None:
    _embed(world, tmp_path / "shards")
    with pytest.raises(LowzooError, match="precision differ"):
        _embed(world, tmp_path / "shards", bf16=True)
    with pytest.raises(LowzooError, match="an engine makes the shards"):
        lowzoo.embed(world / "d" / "train", out=tmp_path / "e.parquet", engine="ray")
    with pytest.raises(LowzooError, match="a picture needs all vectors"):
        _embed(world, tmp_path / "shards", sheet=tmp_path / "s.png")


def _process(world: Path, out: Path, slow: bool) -> None:
    if slow:
        import lowzoo.embedding_shards as shards

        write = shards.write_shard

        def slowly(*arguments: object) -> bool:
            done = write(*arguments)
            time.sleep(0.5)
            return done

        shards.write_shard = slowly
    _embed(world, out)


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_out_and_nothing_twice(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    context = multiprocessing.get_context("spawn")
    slow = context.Process(target=_process, args=(world, out, True))
    slow.start()
    while not list(out.glob("part-*.json")):
        time.sleep(0.05)
    os.kill(slow.pid, signal.SIGKILL)
    slow.join()
    assert len(list(out.glob("part-*.json"))) < 6
    others = [context.Process(target=_process, args=(world, out, False)) for _ in range(2)]
    for process in others:
        process.start()
    for process in others:
        process.join()
        assert process.exitcode == 0
    found = _embed(world, out)
    assert (found.images, found.left, found.written) == (21, 0, 0)
    assert len(set(_rows(out)[0])) == 21


def test_a_frame_of_images_becomes_one_of_vectors(world: Path) -> None:
    pandas = pytest.importorskip("pandas")
    files = sorted((world / "d" / "train").glob("*/*.png"))
    frame = pandas.DataFrame({"image": [file.read_bytes() for file in files[:3]] + [b"words"], "id": [1, 2, 3, 4]})
    model = f"local-dir:{world / 'net'}"
    found = FrameEmbedder(model, device="cpu")(frame)
    assert list(found.columns) == ["id", "vector"]
    assert found["vector"][3] is None
    whole = lowzoo.embed(world / "d" / "train", model=model, device="cpu")
    at = dict(zip(whole.paths, whole.vectors, strict=True))
    expected = np.stack([at[str(file)] for file in files[:3]])
    np.testing.assert_allclose(np.stack(found["vector"][:3].tolist()), expected, atol=1e-5)
    (paths,) = over_frames(model, device="cpu", column="path")(iter([pandas.DataFrame({"path": map(str, files[:2])})]))
    np.testing.assert_allclose(np.stack(paths["vector"].tolist()), expected[:2], atol=1e-5)


class _OfRay(Exception):
    __module__ = "ray.exceptions"

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.cause = cause


_TRACE = """ray::MapWorker(MapBatches(_Worker)).submit() (pid=7, ip=127.0.0.1)
  File "embedding_ray.py", line 44, in __call__
    write_shard()
OSError: disk \x07full
"""
_AROUND = f"""{_TRACE}
The above exception was the direct cause of the following exception:

ray::MapWorker(MapBatches(_Worker)).submit() (pid=7, ip=127.0.0.1)
ray.exceptions.UserCodeException: UDF failed to process a data block.
"""


def test_the_reason_of_a_cluster_is_that_of_the_worker() -> None:
    assert reason_in(_OfRay(_TRACE, OSError("disk full"))) == "OSError: disk full"
    assert reason_in(_OfRay(_TRACE)) == "OSError: disk \N{REPLACEMENT CHARACTER}full"
    assert reason_in(_OfRay(_AROUND, _OfRay("UDF failed"))) == "OSError: disk \N{REPLACEMENT CHARACTER}full"
    assert (
        reason_in(_OfRay("The actor died unexpectedly.\n\tpid: 7\nIts worker was killed.\n"))
        == "Its worker was killed."
    )
    assert reason_in(_OfRay("")) == "_OfRay"


@pytest.mark.parametrize(
    ("asked", "there", "on"),
    [
        ("auto", {"CPU": 4.0}, "cpu"),
        ("auto", {"CPU": 4.0, "GPU": 1.0}, "cuda"),
        ("cpu", {"GPU": 1.0}, "cpu"),
        ("cuda:1", {}, "cuda"),
    ],
)
def test_a_cluster_chooses_among_its_own_devices(asked: str, there: dict[str, float], on: str) -> None:
    assert actor_device(asked, there) == on


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of two nodes of a core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Ray's workers are nice, which on a machine with other work means that they wait.
        patch.setenv("RAY_worker_niceness", "0")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        yield nodes.address
        nodes.shutdown()


@pytest.mark.slow
def test_two_nodes_write_the_same_folder(
    world: Path, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _embed(world, tmp_path / "alone")
    monkeypatch.chdir(world)  # what is named from here has to be found by the actors
    lines: list[str] = []
    words = {"model": "local-dir:net", "shard": 4, "device": "cpu", "engine": "ray", "address": cluster}
    found = lowzoo.embed("d/train", out=f"{tmp_path}/ray/", progress=lines.append, **words)
    assert (found.images, found.left, found.written) == (21, 0, 6)
    assert "Ray: 6 of 6 shards by 2 actors" in lines
    assert sorted(line for line in lines if line.startswith("Shard")) == [f"Shard {n}: written" for n in range(6)]
    paths, vectors = _rows(tmp_path / "ray")
    expected = _rows(tmp_path / "alone")
    assert [Path(path).name for path in paths] == [Path(path).name for path in expected[0]]
    np.testing.assert_allclose(vectors, expected[1], atol=1e-6)
    assert lowzoo.embed("d/train", out=f"{tmp_path}/ray/", **words).written == 0


@pytest.mark.slow
def test_what_goes_wrong_in_a_cluster_is_said_as_it_is_elsewhere(world: Path, tmp_path: Path, cluster: str) -> None:
    words = {"model": f"local-dir:{world / 'net'}", "shard": 4, "engine": "ray", "address": cluster}
    with pytest.raises(LowzooError, match="the Ray cluster has no GPU for an actor"):
        lowzoo.embed(world / "d" / "train", out=f"{tmp_path}/gpu/", device="cuda", **words)
    write_pictures(tmp_path / "d", {"train": 2})
    for file in (tmp_path / "d" / "train").glob("*/*.png"):
        file.write_bytes(file.read_bytes()[:60])
    # Of two shards, of 4 and of 2 images, either may be the first.
    with pytest.raises(LowzooError, match=r"(4 of 4|2 of 2) images of .* cannot be read") as refused:
        lowzoo.embed(tmp_path / "d" / "train", out=f"{tmp_path}/bad/", device="cpu", **words)
    assert "ray" not in str(refused.value).lower()
