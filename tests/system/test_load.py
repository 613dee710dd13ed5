"""Load of others: an account of CPU time of our own, and a process that really burns time."""

import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.target import bench_host
from lowzoo.system.load import OtherLoad, busy_cores, busy_seconds
from tests.helpers.bench import SHORT, described

BURN = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"


LINUX = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
MACOS = namedtuple("Times", "user nice system idle")


@pytest.mark.parametrize(
    ("times", "busy"),
    [(LINUX(3.0, 0.5, 1.5, 90.0, 7.0, 0.1, 0.2, 0.7, 0.4, 0.05), 6.0), (MACOS(3.0, 0.5, 1.5, 90.0), 5.0)],
)
def test_idle_and_disk_do_not_count_nor_do_guests_twice(monkeypatch, times, busy):
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    assert busy_seconds() == pytest.approx(busy)


def test_a_system_that_hides_it(monkeypatch):
    def hidden():
        raise PermissionError("no account")

    monkeypatch.setattr(psutil, "cpu_times", hidden)
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
