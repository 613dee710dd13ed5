"""Tests neither read nor fill the cache of whoever runs them, and parallel ones divide the cores."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # Before torch is imported: every worker with a thread for every core would have them all wait for each other.
    threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the test's own, empty at first, beside `tmp_path`, which may be read as a folder of pictures.

    Rooms whose tests remember things use it for all of them.
    """
    folder = tmp_path_factory.mktemp("cache") / "lowzoo"
    monkeypatch.setenv("LOWZOO_CACHE", str(folder))
    return folder


@pytest.fixture
def shared_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all workers: of tests that go through the whole sample set only the first computes its features."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-cache"
    monkeypatch.setenv("LOWZOO_CACHE", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a network that has random weights, for pictures of 32 px."""
    from tests.helpers.evaluate import write_network

    return write_network(tmp_path / "model")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A tiny ONNX file with lowzoo's metadata."""
    from tests.helpers.bench import described

    return described(tmp_path / "mean.onnx")
