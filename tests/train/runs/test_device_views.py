"""Views that are finished ahead of the step that uses them."""

import threading
import time
from pathlib import Path

import pytest
import torch

from lowzoo.data.source import open_source
from lowzoo.train.data.dataset import ViewBatch
from lowzoo.train.monitoring.progress import Progress, StepClock
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.runs.device_views import DeviceViews
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve
from tests.helpers.train import SETTINGS, make_pictures, make_teacher


@pytest.fixture
def run(tmp_path: Path) -> Run:
    teacher = make_teacher(tmp_path / "teacher")
    config = resolve("rob_dino", settings=[*SETTINGS, f"teacher={teacher}", "epochs=4"])
    return Run(config, open_source(make_pictures(tmp_path / "pictures")), None, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_order_each_with_its_own_views(run: Run, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [run.device_views(batch) for batch in run.loader()]
    monkeypatch.setattr(run, "config", run.config.model_copy(update={"workers": workers}))
    paired = [(batch, views()) for batch, views in run.device_views.pair(run.loader())]
    assert len(plain) == len(paired) == len(run.updates)
    # A worker's memory has served again and again meanwhile.
    blocks = [batch.lease.block for batch, _ in paired if batch.lease]
    assert len(blocks) == workers * len(paired)
    assert len(set(blocks)) <= 7
    for wanted, (batch, found) in zip(plain, paired, strict=True):
        assert torch.equal(batch.indices, found.indices)
        assert torch.equal(found.indices, wanted.indices)
        assert all(torch.equal(a, b) for a, b in zip(found.groups, wanted.groups, strict=True))


def test_on_a_processor_the_next_views_are_made_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[list[int], str]] = []
    finish = DeviceViews.__call__

    def noted(self: DeviceViews, batch: ViewBatch) -> object:
        made.append((batch.indices.tolist(), threading.current_thread().name))
        return finish(self, batch)

    monkeypatch.setattr(DeviceViews, "__call__", noted)
    expected = [batch.indices.tolist() for batch in run.loader()]
    pairs = run.device_views.pair(run.loader())
    next(pairs)
    # Nobody has asked for any views yet.
    deadline = time.monotonic() + 30
    while len(made) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [indices for indices, _ in made] == expected[:2]
    assert threading.main_thread().name not in {thread for _, thread in made}
    pairs.close()
    assert len(made) == 2


def test_a_batch_is_finished_once(run: Run) -> None:
    batch = next(iter(run.loader()))
    run.device_views(batch)
    with pytest.raises(ValueError, match="have been released"):
        run.device_views(batch)


def test_what_goes_wrong_in_the_views_is_raised_where_they_are_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no colours")

    monkeypatch.setattr("lowzoo.train.runs.device_views.photometric", broken)
    pairs = run.device_views.pair(run.loader())
    _, views = next(pairs)
    with pytest.raises(ValueError, match="no colours"):
        views()
    pairs.close()


def test_of_a_step_in_parts_few_views_are_held_and_each_image_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, pictures = make_teacher(tmp_path / "teacher"), open_source(make_pictures(tmp_path / "pictures"))
    words = [*SETTINGS, f"teacher={teacher}", "epochs=2", "batch_size=8", "accumulate=4", "monitor_epochs=0"]
    words += ["checkpoint_steps=0"]
    run = Run(resolve("rob_dino", settings=words), pictures, None, tmp_path / "run")
    made, ahead, images = 0, [], []
    finish, loss, report = DeviceViews.__call__, type(run.method).loss, StepClock.report

    def finishing(self: DeviceViews, batch: ViewBatch) -> Views:
        nonlocal made
        made += 1
        return finish(self, batch)

    def losing(self: Method, views: Views, now: StepContext) -> torch.Tensor:
        ahead.append(made - len(ahead))
        return loss(self, views, now)

    def reporting(self: StepClock, batch_size: int) -> dict[str, float]:
        images.append(self._steps * batch_size)
        return report(self, batch_size)

    monkeypatch.setattr(DeviceViews, "__call__", finishing)
    monkeypatch.setattr(type(run.method), "loss", losing)
    monkeypatch.setattr(StepClock, "report", reporting)
    run.train(Progress())
    assert len(ahead) == 2 * 24 // 2
    assert max(ahead) <= 2
    assert images == [24, 24]
