"""Processes that were given different things do not train together."""

from pathlib import Path

import pytest
import torch

from lowzoo.base.errors import LowzooError, ToldElsewhere
from lowzoo.system.processes import joined
from lowzoo.train.heads import HeadSpec
from lowzoo.train.heads.files import save_head
from lowzoo.train.recipes.base import TrainConfig
from tests.helpers.forked_processes import run_to_the_end
from tests.helpers.train import OUTPUTS, WIDTH, config_of, make_pictures, make_teacher, start


def _start(cases: dict[str, list[tuple[Path, TrainConfig]]], out: Path) -> None:
    rank = joined().rank
    for name, given in cases.items():
        with pytest.raises(LowzooError) as refused:
            start(given[rank][0], out / name, given[rank][1])
        assert isinstance(refused.value, ToldElsewhere) == (rank == 1)
        (out / f"{name}.{rank}.txt").write_text(str(refused.value))


def test_other_images_settings_or_weights_are_refused(tmp_path: Path) -> None:
    world, other = make_pictures(tmp_path / "world"), make_pictures(tmp_path / "other", count=20)
    config = config_of("rob_dino", world, "monitor_epochs=0")
    cases = {
        "images": [(world, config), (other, config)],
        "seed": [(world, config), (world, config.model_copy(update={"seed": 1}))],
        "lr": [(world, config), (world, config.model_copy(update={"lr": 0.5, "workers": 1}))],
    }
    head = HeadSpec(kind="dino", layers=2, hidden=16, bottleneck=8)
    teacher = make_teacher(tmp_path / "teacher")
    torch.manual_seed(6)
    save_head(teacher / "head.safetensors", head.build(WIDTH, OUTPUTS), head, WIDTH, OUTPUTS)
    cases["head"] = [(world, config), (world, config.model_copy(update={"teacher": str(teacher)}))]
    run_to_the_end(2, _start, cases, tmp_path)
    said = {name: [(tmp_path / f"{name}.{rank}.txt").read_text() for rank in range(2)] for name in cases}
    assert all(first == second for first, second in said.values())
    assert said["images"][0].startswith("the 2 processes have different images (24 with digest ")
    assert "students (" in said["seed"][0]
    assert "seed (0, 1)" in said["seed"][0]
    assert "lr (" in said["lr"][0]
    assert "workers" not in said["lr"][0]
    assert "teachers (" not in said["lr"][0]
    assert "teachers (" in said["head"][0]
    assert not list(tmp_path.glob("*/config.toml"))
