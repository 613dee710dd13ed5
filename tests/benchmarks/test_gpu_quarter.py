"""The quarter of an hour with a GPU, in its small form on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_quarter.py"


def _run(out: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, str(SCRIPT), "--small", "--device", "cpu", "--minutes", "10", "--out", str(out)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_small_form_runs_to_its_end_and_goes_on_where_it_was(tmp_path: Path) -> None:
    done = _run(tmp_path / "q")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((tmp_path / "q" / "report.json").read_text())
    assert set(report["training"]) == {"teacher", "rob", "seed", "sslight"}
    assert all(row["right"] for row in report["methods"].values())
    assert report["left_out"] == {}
    assert all(file.stat().st_size < 16e6 for file in (tmp_path / "q").glob("*") if file.is_file())
    assert "Wrong: nothing" in done.stdout
    del report["training"]["seed"]
    (tmp_path / "q" / "report.json").write_text(json.dumps(report))
    again = _run(tmp_path / "q")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "training seed" in again.stdout
    assert "training rob" not in again.stdout


@pytest.mark.slow
def test_without_a_gpu_the_real_form_says_so(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "q")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "There is no GPU here" in done.stderr
