"""Every method runs, leaves its teacher as it was, resumes to the same bits, and does not mind several processes."""

import functools
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lowzoo.data.source import open_source
from lowzoo.train import distributed
from lowzoo.train.curves import read_metrics
from lowzoo.train.loop import Run
from lowzoo.train.methods.sslight import DinoMethod, MocoMethod
from lowzoo.train.progress import Progress
from lowzoo.train.recipes import TrainConfig
from tests.train_fixtures import METHODS, config_of, make_pictures


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("world"))


def start(world: Path, out: Path, config: TrainConfig, *, resume: bool = False, cache: Path | None = None) -> Run:
    source, held_out = open_source(world), open_source(world, "validation")
    return Run(config, source, held_out, out, resume=resume, teacher_cache=cache)


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]


@pytest.mark.parametrize("method", METHODS)
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


class _Stopped(Exception):
    pass


@pytest.mark.parametrize(
    "method", ["rob_swav", "rob_ibot", "seed_small_patch", "sslight_dino", "sslight_swav", "sslight_moco"]
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


@pytest.mark.parametrize("method", ["rob_dino", "rob_msn", "rob_swav", "seed"])
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


def _train(config: TrainConfig, world: Path, out: Path, resume: bool = False) -> None:
    torch.set_num_threads(1)
    distributed.join(torch.device("cpu"))
    start(world, out, config, resume=resume).train(Progress())


PAIRS = [
    (method, student)
    for student in ("test_vit", "test_resnet")
    for method in METHODS
    if student == "test_vit" or method not in ("rob_ibot", "rob_msn")  # patches need a ViT
]


def _config_for_two(method: str, student: str, world: Path) -> TrainConfig:
    more = [f"student={student}", "sync_bn=true", "batch_size=8", "epochs=7", "monitor_epochs=0", "lr=0.01"]
    return config_of(method, world, *more, "positions=timm", "drop_path=0", "patch_drop=0")


def _train_all(configs: dict[str, TrainConfig], world: Path, out: Path) -> None:
    # In fp64, as the rounding of fp32 differs between one process and two, and training amplifies it.
    torch.set_default_dtype(torch.float64)
    try:
        for name, config in configs.items():
            _train(config, world, out / name)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def one_and_two(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    configs = {f"{method}-{student}": _config_for_two(method, student, world) for method, student in PAIRS}
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    _train_all(configs, world, one)
    distributed.spawn(2, functools.partial(_train_all, configs, world, two), "cpu")
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize(("method", "student"), PAIRS)
def test_two_processes_with_half_the_batch_equal_one(method: str, student: str, one_and_two: tuple[Path, Path]) -> None:
    one, two = (folder / f"{method}-{student}" for folder in one_and_two)
    assert len(losses(one)) >= 7
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    for key, value in load_file(one / "model.safetensors").items():
        torch.testing.assert_close(load_file(two / "model.safetensors")[key], value, atol=1e-4, rtol=1e-3, msg=key)


def _train_and_die(config: TrainConfig, world: Path, out: Path) -> None:
    step = Run._one_step

    def die(run: Run, *words: object) -> torch.Tensor:
        if run.step == 9:
            os.kill(os.getpid(), 9)
        return step(run, *words)  # type: ignore[arg-type]

    Run._one_step = die  # type: ignore[method-assign]
    _train(config, world, out)


@pytest.mark.slow
def test_two_killed_processes_resume_to_the_same_bits(world: Path, tmp_path: Path) -> None:
    config = config_of("sslight_moco", world, "monitor_epochs=0")
    distributed.spawn(2, functools.partial(_train, config, world, tmp_path / "whole"), "cpu")
    with pytest.raises(Exception, match=r"SIGKILL|process \d"):
        distributed.spawn(2, functools.partial(_train_and_die, config, world, tmp_path / "killed"), "cpu")
    distributed.spawn(2, functools.partial(_train, config, world, tmp_path / "killed", True), "cpu")
    for file in ("model.safetensors", "head.safetensors"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
