"""Every entry of an oracle folder: numbers that the original implementations gave, and what ours gives.

The folder is tests/oracles, or another one of the same form that the environment variable LOWZOO_ORACLES names.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.slow import slow_but
from tests.train.oracle_checks import EXPECTED, Entry, check_for, read

FOLDER = Path(os.environ.get("LOWZOO_ORACLES") or Path(__file__).parents[1] / "oracles")
RECORDS = read(FOLDER)


@pytest.mark.parametrize(
    "record",
    slow_but(RECORDS, [record for record in RECORDS if record["hyper_parameters"].get("world_size", 1) == 1]),
    ids=lambda record: record["name"],
)
def test_entry_equals_the_original(record: dict[str, Any]) -> None:
    entry = Entry(FOLDER, record)
    check_for(entry)(entry)
    entry.finish()


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second folder: every other entry, of other names, in files of other names, in another order."""
    folder = tmp_path_factory.mktemp("renamed")
    records = []
    for number, record in enumerate(reversed(RECORDS[::2])):
        file = record["file"] and f"part_{number}.safetensors"
        if file:
            shutil.copy(FOLDER / record["file"], folder / file)
        records.append({**record, "name": f"entry {number}", "file": file})
    (folder / "oracles.json").write_text(json.dumps({"oracles": records}), encoding="utf-8")
    return folder


def test_another_folder_is_checked_by_symbols_alone(renamed: Path) -> None:
    records = read(renamed)
    assert len(records) == len(RECORDS[::2])
    for record in records:
        if record["hyper_parameters"].get("world_size", 1) == 1:
            entry = Entry(renamed, record)
            check_for(entry)(entry)
            entry.finish()


def test_every_expected_number_of_a_folder_decides(renamed: Path) -> None:
    """Spoil one number at a time of each kind of entry: its check must say so."""
    for record in read(renamed):
        if record["run_dtype"] != "float64" or record["hyper_parameters"].get("world_size", 1) > 1:
            continue
        expected = [key for key, facts in record["tensors"].items() if facts["role"] in EXPECTED]
        for key in [*expected[:1], *expected[-1:], *list(record["scalars"])[-1:]]:
            entry = Entry(renamed, record)
            if key in entry.tensors:
                entry.tensors[key] = entry.tensors[key] + 1
            else:
                entry.scalars = {**entry.scalars, key: entry.scalars[key] + 1}
            with pytest.raises(AssertionError, match=key.replace(".", r"\.")):
                check_for(entry)(entry)


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


@pytest.mark.parametrize("temperature", [0.02, 0.025, 0.07, 0.1])
def test_sharpening_of_msn_follows_from_the_entry(temperature: float) -> None:
    """Whatever temperature an entry's teacher has: the official sharpening that belongs to it gives the same."""
    key = "max_abs_diff_official_msn_sharpened_target"
    record = next(record for record in RECORDS if key in record["scalars"])
    changed = {**record["hyper_parameters"], "teacher_temperature": temperature}
    entry = Entry(FOLDER, {**record, "hyper_parameters": changed, "scalars": {key: 0.0}})
    for name, facts in record["tensors"].items():
        if facts["role"] in EXPECTED:
            entry.skip(name)
            del entry.tensors[name]
    check_for(entry)(entry)
    entry.finish()
