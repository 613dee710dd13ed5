"""The benchmark of embedding says what it has not seen."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

for needed in ("cv2", "psutil", "pyarrow"):
    pytest.importorskip(needed)
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "embed_scale.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("embed_scale", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_did_not_happen_is_a_fault(script: Any) -> None:
    good = {"largest_difference": 0.0, "memory_mb": {"10": 100.0, "100": 105.0}, "killed_at": "3 of 9 shards"}
    again = {"written": 0, "seconds": 1.0}
    assert script.faults({"way": good, "a second call": again}) == []
    assert script.faults({"way": {**good, "killed_at": None}, "a second call": again}) == ["way: nothing was killed"]
    unseen = {**good, "memory_mb": {"50": 90.0}}
    assert script.faults({"way": unseen, "a second call": again}) == ["way: no memory was seen at 10 % and 100 %"]
    grown = {**good, "memory_mb": {"10": 100.0, "100": 120.0}}
    assert script.faults({"way": grown, "a second call": again}) == ["way: memory grows"]
    assert script.actors() == []
