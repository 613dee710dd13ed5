"""Random folders, archives, tables and lists: everything in them is found, or counted, or refused."""

import pytest

from tests.data.source_fuzz import KINDS, Maker, check

pytest.importorskip("pyarrow")
_SOURCES = 12 * len(KINDS)


@pytest.mark.parametrize("seed", range(_SOURCES), ids=lambda seed: f"{seed}-{KINDS[seed % len(KINDS)]}")
def test_what_was_made_is_found(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path / "cache"))
    check(Maker(tmp_path, seed).make())
