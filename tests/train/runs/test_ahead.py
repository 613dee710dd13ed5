"""Views and bottlenecks a step ahead on a stream of their own, followed on a GPU that is not there."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.system.device_trace import DeviceTrace
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.teacher_cache.cache import TeacherCache
from lowzoo.train.teachers import Teacher
from tests.helpers.device_trace import ON_GPU, traced_steps
from tests.helpers.slow import slow_but
from tests.helpers.train import config_of, start


# Of each way in which views and teacher meet one; all of them wait alike (`test_on_a_gpu`).
@pytest.mark.parametrize("method", slow_but(["rob_dino", "rob_ibot", "sslight_moco"], ()))
def test_views_ahead_wait_for_nothing_and_race_with_nothing(method: str, world: Path, tmp_path: Path) -> None:
    trace = traced_steps(world, tmp_path / "run", config_of(method, world, *ON_GPU, "ahead=true"))
    assert trace.waits == []
    plain = traced_steps(world, tmp_path / "plain", config_of(method, world, *ON_GPU))
    assert trace.flops == plain.flops


@pytest.mark.slow
def test_a_cache_is_read_ahead(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Teacher, "checksum", lambda _: "the same")
    words = ("precision=fp32", "epochs=2", "view_epochs=1", "monitor_epochs=0")
    filling = start(
        world, tmp_path / "filling", config_of("rob_dino", world, *words, "device=cpu"), cache=tmp_path / "c"
    )
    for _ in filling.steps(StepClock(filling.device)):
        pass
    read, order = TeacherCache.read, []
    monkeypatch.setattr(TeacherCache, "read", lambda *given: order.append("read") or read(*given))
    reading = config_of("rob_dino", world, *words, "device=cuda", "ahead=true")
    trace = traced_steps(world, tmp_path / "reading", reading, cache=tmp_path / "c", steps=2)
    assert trace.waits == []
    # Three steps, and the batch after them.
    assert len(order) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), [("wait_event", "race"), ("record_stream", "lent")])
def test_a_step_that_forgets_to_wait_is_found(
    method: str, kind: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lowzoo.system import device_streams

    owner: Any = device_streams._Stream if method == "wait_event" else device_streams.Streams
    monkeypatch.setattr(owner, "share" if method == "record_stream" else method, lambda *_: None)
    waits = traced_steps(world, tmp_path / "run", config_of("sslight_dino", world, *ON_GPU, "ahead=true")).waits
    assert {wait.kind for wait in waits} == {kind}


def test_streams_that_wait_for_each_other_are_right() -> None:
    with DeviceTrace() as trace:
        side = torch.cuda.Stream()
        x = torch.ones(4, device="cuda")
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x.record_stream(side)
            y = x + 1
        mark = side.record_event()
        torch.cuda.current_stream().wait_event(mark)
        y.record_stream(torch.cuda.current_stream())
        y * 2
        assert trace.waits == []
        with torch.cuda.stream(side):
            z = x * 3
        z.record_stream(torch.cuda.current_stream())
        z + 1  # the mark is older than this
    assert [wait.kind for wait in trace.waits] == ["race"]


def test_views_ahead_on_a_cpu_are_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(LowzooError, match="ahead=true is for a CUDA GPU"):
        start(world, tmp_path / "run", config_of("rob_dino", world, "ahead=true"))
