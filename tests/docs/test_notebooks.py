"""The notebooks run from top to bottom, show their results with pictures, and are quiet."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# Pictures that a notebook shows at least, and lines that it prints at most, on a machine as slow as may be.
PICTURES = {"start": 1, "train": 2, "export": 0}
MOST_LINES = 100


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not outputs(notebook)
    assert all(cell.get("execution_count") is None for cell in notebook.cells)
    assert json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path, shared_cache: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        # What a run learns is tested elsewhere.
        cell.source = re.sub(r"\bsteps=\d+", "steps=4", cell.source)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place).execute()
    shown = outputs(notebook)
    html = "".join(output.data["text/html"] for output in shown if "text/html" in output.get("data", {}))
    assert html.count("<img") >= PICTURES[path.stem]
    assert html.count("<pre") >= 3, "results show themselves"
    streams = [output for output in shown if output.output_type == "stream"]
    assert not [stream.text for stream in streams if stream.name == "stderr"], "nothing is said beside the results"
    assert sum(stream.text.count("\n") for stream in streams) < MOST_LINES
    assert "\r" not in "".join(stream.text for stream in streams), "no bar that floods the page"
