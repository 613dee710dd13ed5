"""How processes find each other, and what they say where they do not, or wait too long."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import lowzoo
from lowzoo.base.errors import LowzooError
from lowzoo.system.processes import (
    ALONE,
    Processes,
    exchange,
    join,
    joined,
    own_device,
    started_first,
    started_together,
    working,
)
from tests.helpers.evaluate import pixel_network, write_pictures
from tests.helpers.forked_processes import run_to_the_end


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler's variables, without those by which processes find each other."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("scheduler")
def test_processes_that_cannot_find_each_other_say_so() -> None:
    with pytest.raises(LowzooError, match="without MASTER_ADDR and MASTER_PORT they cannot find") as refused:
        join(torch.device("cpu"))
    assert "unset WORLD_SIZE" in refused.value.remedy


@pytest.mark.usefixtures("scheduler")
def test_a_process_that_has_not_joined_the_others_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    gpu = torch.device("cuda")
    assert started_together() == 4
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(gpu) == torch.device("cuda:1")
    assert own_device(torch.device("cuda:0")) == torch.device("cuda:0")
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # the scheduler shows it no other
    assert own_device(gpu) == gpu


@pytest.mark.usefixtures("scheduler", "cache")
def test_a_call_in_python_is_made_by_its_own_process(tmp_path: Path) -> None:
    lines: list[str] = []
    data = write_pictures(tmp_path / "d", {"train": 4, "val": 2})
    lowzoo.evaluate.knn(pixel_network(), data=data, out=tmp_path / "out.json", progress=lines.append)
    assert (tmp_path / "out.json").exists()
    assert lines


def test_a_member_of_a_group_made_elsewhere_knows_whether_it_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment says which process it is, as where a program spawned it."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for rank in (0, 1):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        assert started_first() == (rank == 0)


def test_a_group_without_a_cpu_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend_config", lambda: str(dist.distributed_c10d.BackendConfig("nccl")))
    with pytest.raises(LowzooError, match=r"has no CPU backend \(cuda:nccl\)"):
        join(torch.device("cpu"))


def _late(out: Path) -> None:
    own = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))
    assert own.options._timeout > timedelta(days=1)
    short = dist.new_group(timeout=timedelta(seconds=1))
    if joined().rank == 1:
        time.sleep(1.6)
        return
    with pytest.raises(LowzooError) as late:
        exchange(lambda: dist.barrier(short))
    (out / "said.txt").write_text(str(late.value))


@pytest.mark.slow
def test_a_group_with_a_short_timeout_is_told_apart_from_an_end(tmp_path: Path) -> None:
    run_to_the_end(2, _late, tmp_path)
    said = (tmp_path / "said.txt").read_text()
    assert said.startswith("another process took longer than the timeout of the process group allows")


def _alone_and_together(out: Path) -> None:
    place, rank = torch.device("cpu"), joined().rank
    if rank == 1:  # the other one does not come here
        with working(place, divide=False) as among:
            assert among == joined() == ALONE
            joined().wait()
    with pytest.raises(LowzooError, match="planted"), working(place, divide=False):
        raise LowzooError("planted", "Nothing")
    with working(place, divide=True) as among:
        assert among == joined() == Processes(rank, 2)
        assert among.gather(rank) == [0, 1]
    # A group that was there before is there still.
    assert joined().gather(rank) == [0, 1]
    (out / str(rank)).touch()


def test_a_call_works_alone_or_with_all_and_leaves_a_group_as_it_was(tmp_path: Path) -> None:
    run_to_the_end(2, _alone_and_together, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0", "1"]
    with working(torch.device("cpu"), divide=True) as among:
        assert among == ALONE
