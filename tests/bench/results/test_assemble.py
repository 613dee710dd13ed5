"""Results on disk: read back, re-evaluated from their raw samples, and refused when they do not follow from them."""

import json

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.assemble import SET_SCHEMA, check_samples, read_results, to_document
from lowzoo.bench.results.protocol import statistics
from tests.helpers.bench import made_result


@pytest.fixture
def result():
    return made_result(samples=((1.1, 1.3, 1.2), (0.1 + 0.2, 1 / 3, 2.0)))


def test_statistics_follow_exactly(result):
    check_samples(result)
    assert result.statistics == statistics([1.1, 1.3, 1.2, 0.1 + 0.2, 1 / 3, 2.0])
    assert result.load_ms == 5.0


def test_what_is_written_is_read(result, tmp_path):
    one, several = tmp_path / "one.json", tmp_path / "set.json"
    one.write_text(to_document([result]))
    several.write_text(to_document([result, result]))
    assert read_results(one) == (result,)
    assert read_results(several) == (result, result)
    assert json.loads(several.read_text())["schema"] == SET_SCHEMA


@pytest.mark.parametrize("place", ["statistics median_ms", "spread max_ms", "repeats 1 statistics n"])
def test_a_figure_that_the_samples_do_not_give(result, tmp_path, place):
    document = json.loads(result.to_json())
    inner = document
    *outer, last = place.split()
    for key in outer:
        inner = inner[int(key) if key.isdigit() else key]
    inner[last] += 1
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(document))
    with pytest.raises(LowzooError, match=r"changed\.json: .*not follow from the raw samples"):
        read_results(file)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "lowzoo.bench.set/1"}', '{"schema": "other/1"}'])
def test_other_files(tmp_path, content):
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(LowzooError, match=r"other\.json is no result"):
        read_results(file)
    with pytest.raises(LowzooError, match="cannot read"):
        read_results(tmp_path / "none.json")


def test_warnings_are_earned():
    even = made_result(samples=((1.0, 1.0, 1.1), (1.0, 1.05, 1.1)))
    assert not any("uneven" in warning or "apart" in warning for warning in even.warnings)
    uneven = made_result(samples=((1.0, 1.0, 2.0), (1.5, 2.05, 2.1)), other_load=0.8)
    for word in ("uneven", "medians of the repeats lie 69 % apart", "others took up to 0.8 cores"):
        assert any(word in warning for warning in uneven.warnings)
