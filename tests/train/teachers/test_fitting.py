"""Two processes fit the prototypes of one and fill the cache of one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_source
from lowzoo.train.monitoring.monitor import fixed_subset, read_squares
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.settings.config import resolve
from lowzoo.train.teachers import of_run
from tests.helpers.forked_processes import run_to_the_end
from tests.helpers.train import SETTINGS, config_of, make_pictures, make_teacher, start

ROW = np.dtype([("params", np.float32, (2, 13)), ("bottleneck", np.float16, (2, 8))])
WORDS = ("monitor_epochs=0", "device=cpu", "precision=fp32")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_pictures(tmp_path_factory.mktemp("world"), count=300)
    make_teacher(folder / "teacher_dino")
    return folder


def _fit(world: Path, out: Path, *more: str) -> None:
    fitted = ("teacher_head=fitted", "prototypes=24", "fitted_bottleneck=16", f"teacher={world / 'teacher_dino'}")
    config = resolve("rob_msn", settings=[*SETTINGS, "epochs=1", "student_head.hidden=16", *fitted, *WORDS, *more])
    start(world, out, config)


@pytest.mark.slow
def test_two_processes_fit_the_prototypes_of_one(world: Path, tmp_path: Path) -> None:
    heads = []
    for count in (1, 2):
        run_to_the_end(count, _fit, world, tmp_path / str(count))
        heads.append(load_file(tmp_path / str(count) / "teacher_head.safetensors"))
    assert heads[0].keys() == heads[1].keys()
    for key, value in heads[0].items():
        assert torch.equal(heads[1][key], value), key


def test_images_are_decoded_a_batch_at_a_time_and_broken_ones_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pictures(tmp_path, count=30)
    make_teacher(folder / "teacher_dino")
    first = sorted(folder.rglob("*.png"))[0]
    first.write_bytes(b"no picture")
    decoded = []

    def read(*arguments):
        squares, *rest = read_squares(*arguments)
        decoded.append(len(squares))
        return squares, *rest

    monkeypatch.setattr(of_run, "images_at_once", lambda side, device: 8)
    monkeypatch.setattr(of_run, "read_squares", read)
    _fit(folder, tmp_path / "run")
    assert sum(decoded) == 29
    assert max(decoded) == 8
    assert (tmp_path / "run" / "teacher_head.safetensors").exists()


def test_images_of_which_none_can_be_read_are_refused_with_the_first_reason(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path, count=30)
    make_teacher(folder / "teacher_dino")
    source = open_source(folder)
    for index in fixed_subset(source, 4):
        Path(source.where(index)).write_bytes(b"no picture")
    with pytest.raises(LowzooError, match=r"no image of .* to fit prototypes to, the first: .*\.png"):
        _fit(folder, tmp_path / "run", "fitted_images=4")


def _fill(world: Path, out: Path) -> None:
    config = config_of("rob_dino", world, "batch_size=20", "epochs=1", "view_epochs=1", *WORDS)
    run = start(world, out / "run", config, cache=out / "cache")
    for _ in run.steps(StepClock(run.device)):
        pass


@pytest.mark.slow
def test_two_processes_fill_the_cache_of_one(world: Path, tmp_path: Path) -> None:
    rows = []
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        run_to_the_end(count, _fill, world, tmp_path / str(count))
        assert (np.fromfile(tmp_path / str(count) / "cache" / "epoch-0000.sums", np.uint64) != 0).all()
        rows.append(np.fromfile(tmp_path / str(count) / "cache" / "epoch-0000.rows", ROW))
    assert np.array_equal(rows[0]["params"], rows[1]["params"])
    # Half a batch may be rounded otherwise, by the last bit of fp16.
    np.testing.assert_allclose(rows[1]["bottleneck"], rows[0]["bottleneck"], rtol=2e-3, atol=1e-3)
