"""A detector's run that is killed at a random moment goes on to the same bits, alone and in two processes."""

import random
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lowzoo.train.runs import checkpoint
from tests.helpers.detection import TINY, drawn_set
from tests.helpers.forked_processes import run_to_the_end, start_processes

pytest.importorskip("faster_coco_eval")


def _detect(data: Path, folder: Path, resume: bool) -> None:
    import lowzoo.evaluate

    lowzoo.evaluate.detect(
        "test_efficientnet",
        data=data,
        folder=folder,
        steps=8,
        batch_size=2,
        random_init=True,
        device="cpu",
        resume=resume,
        divide=True,
        settings=[*TINY, "checkpoint_steps=1"],
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_to_the_same_bits(processes: int, tmp_path: Path) -> None:
    data = drawn_set(tmp_path / "set")
    began = time.monotonic()
    run_to_the_end(processes, _detect, data, tmp_path / "whole", False)
    duration, folder, reached = time.monotonic() - began, tmp_path / "killed", []
    for _ in range(2):
        running = start_processes(processes, _detect, data, folder, (folder / "settings.json").is_file())
        time.sleep(random.uniform(0.2, 1) * duration)
        for process in running:
            process.kill()
            process.join()
        reached.append((checkpoint.load_checkpoint(folder) or {}).get("step", 0))
    run_to_the_end(processes, _detect, data, folder, (folder / "settings.json").is_file())
    ours, theirs = (load_file(place / "detector.safetensors") for place in (folder, tmp_path / "whole"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items()), f"killed at steps {reached}"
