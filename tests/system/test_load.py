"""Load of others: the kernel's account read from files of our own, and a process that really burns time."""

import subprocess
import sys
import time

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.target import bench_host
from lowzoo.system import load
from lowzoo.system.load import OtherLoad, busy_cores, busy_seconds
from tests.helpers.bench import SHORT, described

BURN = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"


@pytest.fixture
def stat(tmp_path, monkeypatch):
    file = tmp_path / "stat"
    monkeypatch.setattr(load, "_STAT", file)
    monkeypatch.setattr(load.os, "sysconf", lambda name: 100)
    return file


def test_idle_and_disk_do_not_count_nor_do_guests_twice(stat):
    stat.write_text("cpu  300 50 150 9000 700 10 20 70 40 5\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    assert busy_seconds() == (300 + 50 + 150 + 10 + 20 + 70) / 100


def test_a_system_that_hides_it(stat):
    assert busy_seconds() is None
    assert busy_cores(0.01) is None
    assert OtherLoad().cores() is None


def test_no_watching_no_figure():
    assert busy_cores(0) is None


@pytest.mark.skipif(busy_seconds() is None, reason="this system does not account for CPU time")
def test_own_children_are_not_others():
    """A child that takes 0.6 s of CPU time: most of it must have been subtracted."""
    watch, before, start = OtherLoad(), busy_seconds(), time.perf_counter()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    everything = (busy_seconds() - before) / (time.perf_counter() - start)
    assert watch.cores() <= everything - 0.5 * 0.6 / (time.perf_counter() - start)


def test_a_busy_computer_is_refused_or_flagged(tmp_path, monkeypatch):
    file = described(tmp_path / "mean.onnx")
    monkeypatch.setattr("lowzoo.bench.host.machine.busy_cores", lambda watch_s: 1.5)
    monkeypatch.setattr("lowzoo.system.load.OtherLoad.cores", lambda self: 1.2)
    with pytest.raises(LowzooError, match=r"this computer is busy: 1\.5 cores are in use"):
        bench_host(file, protocol=SHORT, refuse_load=True, progress=False)
    result = bench_host(file, protocol=SHORT, progress=False)
    assert any("others took up to 1.2 cores" in warning for warning in result.warnings)
    assert result.before.busy_cores == 1.5
