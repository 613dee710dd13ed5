"""Every method runs, leaves its teacher as it was, resumes to the same bits, and says the same through a cache."""

import errno
import os
from pathlib import Path

import pytest
import torch

from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.recipes import RECIPES
from lowzoo.train.recipes.sslight.method import DinoMethod, MocoMethod
from lowzoo.train.runs.loop import Run
from tests.helpers.slow import slow_but
from tests.helpers.train import METHODS, config_of, start


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]


@pytest.mark.parametrize("method", slow_but(METHODS, ("rob_dino", "seed", "sslight_moco")))
def test_a_method_trains_its_student_alone(method: str, world: Path, tmp_path: Path) -> None:
    run = start(world, tmp_path / "run", config_of(method, world))
    before = {key: value.clone() for key, value in run.student.state_dict().items()}
    checksum = run.teacher.teacher.checksum() if run.teacher else None
    result = run.train(Progress())
    assert result is not None
    assert result.loss is not None
    assert result.loss > 0
    after = run.student.state_dict()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(moved) > 0.9 * len([key for key in before if before[key].is_floating_point()])
    if run.teacher:
        assert run.teacher.teacher.checksum() == checksum
        assert not any(parameter.grad is not None for parameter in run.teacher.teacher.parameters())
    if isinstance(run.method, DinoMethod | MocoMethod):
        assert not torch.equal(next(run.method.twin.parameters()), next(run.student.parameters()))
    assert result.facts["teacher"] is None or result.facts["teacher"]["prototypes"]
    assert run.method.sharpness in RECIPES[run.config.recipe].changeable, "a remedy that a resumed run does not take"


class _Stopped(Exception):
    pass


@pytest.mark.parametrize(
    "method",
    slow_but(
        ["rob_swav", "rob_ibot", "seed_small_patch", "sslight_dino", "sslight_swav", "sslight_moco"], ("rob_swav",)
    ),
)
def test_a_run_that_stops_anywhere_resumes_to_the_same_bits(
    method: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(method, world, "drop_path=0.1")
    start(world, tmp_path / "whole", config).train(Progress())
    step = Run._one_step

    def stop(run: Run, *words: object) -> torch.Tensor:
        if run.step == 9:
            raise _Stopped
        return step(run, *words)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_one_step", stop)
        with pytest.raises(_Stopped):
            start(world, tmp_path / "broken", config).train(Progress())
    resumed = start(world, tmp_path / "broken", config, resume=True)
    assert resumed.step == 8
    resumed.train(Progress())
    for file in ("model.safetensors", "head.safetensors"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")


@pytest.mark.parametrize("method", slow_but(["rob_dino", "rob_msn", "rob_swav", "seed"], ("rob_dino",)))
def test_a_cached_run_equals_an_uncached_one_within_fp16(method: str, world: Path, tmp_path: Path) -> None:
    config = config_of(method, world)
    start(world, tmp_path / "plain", config).train(Progress())
    start(world, tmp_path / "filling", config, cache=tmp_path / "cache").train(Progress())
    reading = start(world, tmp_path / "reading", config, cache=tmp_path / "cache")
    assert reading.teacher is not None
    reading.teacher.teacher.backbone = torch.nn.Identity()  # Everything is in the cache now.
    reading.train(Progress())
    assert losses(tmp_path / "reading") == losses(tmp_path / "filling")
    assert losses(tmp_path / "reading") == pytest.approx(losses(tmp_path / "plain"), rel=2e-3)


@pytest.mark.slow
def test_a_full_disk_ends_the_filling_of_a_cache_and_not_the_run(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("rob_dino", world)
    start(world, tmp_path / "whole", config, cache=tmp_path / "roomy").train(Progress())
    real, room = os.pwrite, 3000

    def limited(file: int, data: bytes, offset: int) -> int:
        nonlocal room
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room -= len(data)
        return real(file, data, offset)

    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", limited)
        run = start(world, tmp_path / "run", config, cache=tmp_path / "cache", say=said.append)
        run.train(Progress())
    sizes, warning = said
    assert sizes.endswith("0% filled, 6.912 kB when full")
    assert warning.startswith("Warning: ")
    assert "No space left on device" in warning
    assert run.teacher is not None
    assert run.teacher.cache is not None
    assert 0 < run.teacher.cache.filled_share() < 1
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    # Where there is room again, the next run goes on filling.
    start(world, tmp_path / "next", config, cache=tmp_path / "cache").train(Progress())
    assert run.teacher.cache.filled_share() == 1
    assert losses(tmp_path / "next") == losses(tmp_path / "whole")
