"""What control groups leave to a process, of both versions of the interface, wherever the limit stands."""

import os
from pathlib import Path

import psutil
import pytest

from lowzoo.system import control_groups
from lowzoo.system.control_groups import cpu_limit, memory_left
from lowzoo.system.cores import keep_to_cpu_limit, usable_cores

GB = 1 << 30
NO_LIMIT = 9223372036854771712


def machine(root: Path, own: str, files: dict[str, object]) -> Path:
    """A file system with these files of the kernel."""
    for name, content in {"proc/self/cgroup": own, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


def test_a_job_of_a_cluster_has_the_limit_of_the_group_around_it(tmp_path: Path) -> None:
    job = "sys/fs/cgroup/system.slice/job_7"
    root = machine(
        tmp_path,
        "0::/system.slice/job_7/step_0",
        {
            f"{job}/memory.max": 4 * GB,
            f"{job}/memory.current": 3 * GB,
            f"{job}/memory.stat": f"anon {GB}\ninactive_file {GB}",
            f"{job}/step_0/memory.max": "max",
            f"{job}/step_0/memory.current": 2 * GB,
            f"{job}/cpu.max": "max 100000",
            f"{job}/step_0/cpu.max": "150000 100000",
        },
    )
    assert memory_left(root) == 2 * GB
    assert cpu_limit(root) == 1.5


def test_a_container_sees_its_group_as_the_root(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/",
        {
            "sys/fs/cgroup/memory.max": "max",
            "sys/fs/cgroup/memory.high": 2 * GB,
            "sys/fs/cgroup/memory.current": GB,
            "sys/fs/cgroup/cpu.max": "max 100000",
        },
    )
    assert memory_left(root) == GB
    assert cpu_limit(root) is None


@pytest.mark.parametrize(
    ("controllers", "folder"), [("cpu,cpuacct", "cpu,cpuacct"), ("cpuacct,cpu", "cpu"), ("cpu", "cpu")]
)
def test_version_1_also_where_the_name_is_that_of_the_host(tmp_path: Path, controllers: str, folder: str) -> None:
    root = machine(
        tmp_path,
        f"5:memory:/docker/abc\n4:{controllers}:/docker/abc\n0::/",
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 3 * GB,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 2 * GB,
            "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB // 2}",
            f"sys/fs/cgroup/{folder}/cpu.cfs_quota_us": 200000,
            f"sys/fs/cgroup/{folder}/cpu.cfs_period_us": 100000,
        },
    )
    assert memory_left(root) == GB + GB // 2
    assert cpu_limit(root) == 2


def test_without_limits_nothing_is_said(tmp_path: Path) -> None:
    assert memory_left(tmp_path) is None
    assert cpu_limit(tmp_path) is None
    root = machine(
        tmp_path,
        "4:memory:/a\n3:cpu:/a",
        {
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": NO_LIMIT,
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": GB,
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": -1,
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": 100000,
        },
    )
    assert memory_left(root) is None
    assert cpu_limit(root) is None


@pytest.mark.parametrize("own", ["", "\x00", "memory", "4:memory", "0::/a\x00b", "0::/\udcff"])
def test_what_no_kernel_writes_is_no_limit(tmp_path: Path, own: str) -> None:
    file = machine(tmp_path, "", {"sys/fs/cgroup/memory.stat": "inactive_file\nanon many words"}) / "proc/self/cgroup"
    file.write_bytes(own.encode("utf-8", "surrogateescape"))
    assert memory_left(tmp_path) is None
    assert cpu_limit(tmp_path) is None


def test_an_odd_line_of_statistics_counts_nothing(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": GB,
        "sys/fs/cgroup/memory.current": 4096,
        "sys/fs/cgroup/memory.stat": "inactive_file\nanon many words",
    }
    assert memory_left(machine(tmp_path, "0::/", files)) == GB - 4096


def test_more_than_the_limit_is_nothing_left(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": GB, "sys/fs/cgroup/memory.current": GB + 4096}
    assert memory_left(machine(tmp_path, "0::/", files)) == 0


def test_a_limit_of_cpu_time_bounds_cores_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 64 if logical else 32)
    monkeypatch.setattr(control_groups, "cpu_limit", lambda: 1.5)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is put back
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert usable_cores() == 2
    keep_to_cpu_limit()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    keep_to_cpu_limit()
    assert os.environ["OMP_NUM_THREADS"] == "5"
    monkeypatch.delenv("OMP_NUM_THREADS")
    for none in (None, 64.0):  # torch takes the physical cores by itself
        monkeypatch.setattr(control_groups, "cpu_limit", lambda none=none: none)
        assert usable_cores() == 64
        keep_to_cpu_limit()
        assert "OMP_NUM_THREADS" not in os.environ
