"""Every entry of an oracle folder: numbers that the original implementations gave, and what ours gives.

The folder is tests/oracles, or another one of the same form that the environment variable LOWZOO_ORACLES names.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.oracle_checks import Entry, check_for, read

FOLDER = Path(os.environ.get("LOWZOO_ORACLES") or Path(__file__).parent / "oracles")
RECORDS = read(FOLDER)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_entry_equals_the_original(record: dict[str, Any]) -> None:
    entry = Entry(FOLDER, record)
    check_for(entry)(entry)
    entry.finish()


def test_folder_holds_entries() -> None:
    assert RECORDS


def _record(symbols: str, **changes: Any) -> dict[str, Any]:
    source = {"repo": "a/b", "commit": "0", "path": "c.py", "symbol": symbols}
    whole = {"name": "n", "file": None, "source": [source], "run_dtype": "float64", "hyper_parameters": {}}
    return {**whole, "tensors": {}, "scalars": {}, "tolerance": {"rtol": 0, "atol": 0}, **changes}


@pytest.mark.parametrize("symbols", ["", "UnheardOf", "DINOLoss, UnheardOf"])
def test_entry_that_nothing_reproduces_is_refused(symbols: str) -> None:
    with pytest.raises(LookupError, match="no check reproduces"):
        check_for(Entry(FOLDER, _record(symbols)))


def test_entry_with_a_number_that_no_check_compares_fails() -> None:
    entry = Entry(FOLDER, _record("LARS", scalars={"forgotten": 1.0, "compared": 2.0}))
    entry.expect("compared", 2.0)
    with pytest.raises(AssertionError, match="not compared: scalar forgotten"):
        entry.finish()


def test_entry_with_another_number_fails() -> None:
    entry = Entry(FOLDER, _record("LARS", scalars={"loss": 1.0}))
    with pytest.raises(AssertionError, match="loss"):
        entry.expect("loss", 1.0001)
