"""Tests neither read nor fill the cache of whoever runs them, and parallel ones divide the cores."""

import os

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
