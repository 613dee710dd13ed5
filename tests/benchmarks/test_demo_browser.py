"""What the script that drives the taught page in a browser says to hold is judged from what it measured."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
DOCUMENT = json.loads((FOLDER / "results" / "demo_browser.json").read_text())


@pytest.fixture(scope="module")
def held():
    found = importlib.util.spec_from_file_location("demo_claims", FOLDER / "demo_claims.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.held


def test_everything_measured_holds(held):
    assert held(DOCUMENT) == DOCUMENT["holds"]
    assert all(DOCUMENT["holds"].values())


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("session", "pictures_kept"), 0),
        (("kinds", "CMYK", "min_cosine"), 0.99),
        (("situations", "a wrong token"), 200),
        (("situations", "a denied camera"), ""),
        (("situations", "the same photograph, taught in the other order"), [0, 0]),
        (("situations", "fifty megapixels", "min_cosine"), 0.9),
        (("situations", "a lost connection", "still_downloads"), False),
        (("network", "plain http", "said"), ""),
        (("network", "--https", "camera"), False),
        (("camera", "top1"), 34.0),
        (("camera", "photographs"), 3),
    ],
)
def test_a_measurement_that_fails_is_one_claim_that_does_not_hold(held, path, wrong):
    document = copy.deepcopy(DOCUMENT)
    *outer, last = path
    place = document
    for step in outer:
        place = place[step]
    place[last] = wrong
    assert list(held(document).values()).count(False) == 1
