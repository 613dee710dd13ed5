"""The steps of every method on a GPU that is not there: no mixed devices, no waiting, types as meant."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.settings.config import resolve
from lowzoo.train.teacher_cache.frozen import FrozenTeacher
from lowzoo.train.teachers import Teacher
from tests.helpers.device_trace import ON_GPU, traced_steps, types_of_losses, types_of_networks
from tests.helpers.slow import slow_but
from tests.helpers.train import METHODS, SETTINGS, config_of, start
from tests.train.teachers.test_classifier import make_model


@pytest.mark.parametrize("method", slow_but(METHODS, ("seed",)))
def test_a_step_stays_on_the_device_and_waits_for_nothing(method: str, world: Path, tmp_path: Path) -> None:
    trace = traced_steps(world, tmp_path / "run", config_of(method, world, *ON_GPU))
    assert trace.waits == []
    assert types_of_networks(trace) == {torch.bfloat16}
    assert types_of_losses(trace) == {torch.float32}
    assert trace.flops > 0
    assert trace.peak > trace.live > 0


@pytest.mark.slow
def test_supervised_distillation_does_too(world: Path, tmp_path: Path) -> None:
    make_model(tmp_path / "teacher", classes=2)
    settings = [*(s for s in SETTINGS if not s.startswith("views")), f"teacher={tmp_path / 'teacher'}", "epochs=2"]
    settings += ["loss=kd", 'views=[{name="global",count=2,size=32,scale=[0.4,1.0]}]', *ON_GPU]
    trace = traced_steps(world, tmp_path / "run", resolve("rob_kd", settings=settings))
    assert trace.waits == []
    assert types_of_networks(trace) == {torch.bfloat16}
    assert types_of_losses(trace) == {torch.float32}


@pytest.mark.parametrize("method", slow_but(["rob_dino", "rob_msn", "rob_swav", "seed"], ()))
def test_the_cache_is_filled_by_one_read_back(method: str, world: Path, tmp_path: Path) -> None:
    settings = ("precision=fp32", "epochs=1", "view_epochs=1")
    filling = config_of(method, world, *ON_GPU, *settings)
    trace = traced_steps(world, tmp_path / "filling", filling, cache=tmp_path / "cache")
    assert {wait.kind for wait in trace.waits} == {"read-back"}
    assert all("cache.py" in wait.where for wait in trace.waits)


class _Toy(Method):
    """Pulls two views together; `planted` says what is wrong with it."""

    def __init__(self, student: Any, planted: str) -> None:
        super().__init__(student)
        self.planted = planted

    def loss(self, views: Views, now: StepContext) -> Tensor:
        scores = self.encode(views.groups, None, now).scores
        first, second, *_ = normalize(scores if self.planted == "half" else scores.float(), dim=-1)
        loss = (1 - (first * second).sum(-1)).mean()
        if self.planted == "item":
            loss = loss / max(1.0, loss.item())
        elif self.planted == "bool" and loss > 100:
            loss = loss / 2
        elif self.planted == "upload":
            loss = (loss * torch.ones(3).to(loss.device)).mean()
        elif self.planted == "place":
            loss = (loss * torch.ones(3)).mean()
        elif self.planted == "cpu":
            loss = loss * loss.detach().cpu().sum()
        elif self.planted == "nonzero":
            loss = loss + 0 * (first > 0).nonzero().sum()
        elif self.planted == "list":
            loss = loss * sum(loss.detach().view(1).tolist())
        return loss


def _toy(world: Path, out: Path, planted: str) -> Any:
    def build(config: Any, backbone: Any, _: Any, device: torch.device, *, processes: int = 1) -> Method:
        from lowzoo.train.networks.encoder import MultiViewEncoder

        head = config.student_head.build(64, 8)
        return _Toy(MultiViewEncoder(backbone, head), planted).to(device)

    return traced_steps(world, out, config_of("sslight_dino", world, *ON_GPU), build=build)


@pytest.mark.slow
def test_a_method_of_ones_own_is_held_to_the_same(world: Path, tmp_path: Path) -> None:
    trace = _toy(world, tmp_path / "run", "")
    assert trace.waits == []
    assert types_of_networks(trace) == {torch.bfloat16}


@pytest.mark.parametrize(
    ("planted", "kind"),
    slow_but(
        [
            ("item", "read-back"),
            ("bool", "read-back"),
            ("cpu", "read-back"),
            ("list", "read-back"),
            ("nonzero", "shape"),
            ("upload", "upload"),
        ],
        (("item", "read-back"),),
    ),
)
def test_a_planted_wait_is_found_with_its_line(planted: str, kind: str, world: Path, tmp_path: Path) -> None:
    waits = _toy(world, tmp_path / "run", planted).waits
    assert {wait.kind for wait in waits} == {kind}
    assert all("test_on_a_gpu.py" in wait.where for wait in waits)


def test_a_planted_tensor_of_the_cpu_is_an_error(world: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        _toy(world, tmp_path / "run", "place")


def _reading(
    world: Path, out: Path, monkeypatch: pytest.MonkeyPatch, method: str, *more: str, change: Any = None
) -> Any:
    """The trace of steps that read a cache, which a run on the CPU has filled."""
    # Weights on a device that is not there have no digest.
    monkeypatch.setattr(Teacher, "checksum", lambda _: "the same")
    words = ("precision=fp32", "epochs=1", "view_epochs=1", "monitor_epochs=0")
    filling = start(world, out / "filling", config_of(method, world, *words, "device=cpu"), cache=out / "cache")
    for _ in filling.steps(StepClock(filling.device)):
        pass
    if change is not None:
        embed = FrozenTeacher.embed
        monkeypatch.setattr(FrozenTeacher, "embed", lambda self, *given: change(embed(self, *given)))
    reading = config_of(method, world, *words, "device=cuda")
    return traced_steps(world, out / "reading", reading, cache=out / "cache")


@pytest.mark.parametrize("method", slow_but(["rob_dino", "rob_msn", "rob_swav", "seed"], ("rob_dino",)))
def test_reading_a_cache_waits_for_nothing(
    method: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = _reading(world, tmp_path, monkeypatch, method)
    assert trace.waits == []


@pytest.mark.slow
def test_a_read_back_in_reading_a_cache_is_found(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = _reading(world, tmp_path, monkeypatch, "rob_dino", change=lambda x: x * float(x.sum().item())).waits
    assert {wait.kind for wait in waits} == {"read-back"}
    assert all("test_on_a_gpu.py" in wait.where for wait in waits)


def test_what_reading_a_cache_leaves_on_the_cpu_is_an_error(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        _reading(world, tmp_path, monkeypatch, "rob_dino", change=lambda x: x + torch.ones(x.shape[-1]))
