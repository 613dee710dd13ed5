"""How the speeds of training are compared; the measuring itself is no test."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("train_speed")


def row(processor: float, clock: float, share: float = 0.5) -> dict[str, Any]:
    return {
        "images_per_processor_s": processor,
        "images_per_s": clock,
        "workers_share": share,
        "step_ms": {"median": 1.0, "min": 1.0, "max": 1.0},
    }


SIDES = {
    "lightly-train": row(10, 20),
    "plain loop": row(5, 8),
    "lowzoo": row(19, 30),
    "lightly-train, views alone": row(40, 40),
    "plain loop, views alone": row(20, 20),
    "lowzoo, views alone": row(80, 120, 0.25),
}


def test_training_is_compared_with_training_and_views_with_views(script: ModuleType) -> None:
    found = script.ratios(SIDES, {"lowzoo": 2.0, "lowzoo, views alone": 2.0})
    assert found == {
        "lowzoo / lightly-train": {"ratio": 1.9, "by_the_clock": 1.5, "bound": 2.0},
        "lowzoo / plain loop": {"ratio": 3.8, "by_the_clock": 3.75, "bound": 2.0},
        "lowzoo, views alone / lightly-train, views alone": {
            "ratio": 2.0,
            "by_the_clock": 3.0,
            "bound": 2.0,
            "workers": 4.0,
        },
        "lowzoo, views alone / plain loop, views alone": {
            "ratio": 4.0,
            "by_the_clock": 6.0,
            "bound": 2.0,
            "workers": 8.0,
        },
    }


def test_the_report_names_what_is_missed(script: ModuleType) -> None:
    point = {"sides": SIDES, "load_average": [0.5, 0.5, 0.5], "processor": "EPYC", "versions": {"torch": "2"}}
    point["ratios"] = script.ratios(SIDES, {"lowzoo": 2.0})
    text = script.as_markdown({"points": {"data": point}, "cores": 2, "workers": 1})
    assert "| lowzoo / lightly-train | 1.900 (missed) | 2.0 | 1.5 |" in text
    assert "EPYC; load average at the end: 0.5; torch 2." in text
    assert "| lowzoo / plain loop | 3.800 | 2.0 | 3.75 |" in text


def test_the_turn_in_the_middle_counts(script: ModuleType) -> None:
    turns = [row(3, 1), row(1, 2), row(2, 3)]
    assert script.median_turn(turns) == {**row(2, 3), "turns": [3, 1, 2]}


def test_every_point_has_bounds_and_an_odd_number_of_turns(script: ModuleType) -> None:
    assert set(script.BOUNDS) == set(script.POINTS)
    assert all(point["turns"] % 2 for point in script.POINTS.values())
