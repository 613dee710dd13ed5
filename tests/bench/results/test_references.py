"""What others published stands in a report apart from what was measured."""

from lowzoo import catalog
from lowzoo.bench.results.report import PUBLISHED, Group, references
from tests.helpers.bench import made_result


def test_npu_rows_name_runtime_versions_and_source():
    rows = [row for row in catalog.latencies() if row.engine.startswith("NPU")]
    assert len({row.device for row in rows}) >= 5
    for row in rows:
        assert row.is_reference
        assert "QAIRT 2." in row.engine
        assert row.source.startswith("Qualcomm AI Hub Models 0.")
        assert 0.05 < row.ms < 100
    assert len({(row.architecture, row.device, row.precision) for row in rows}) == len(rows)


def group(side, name="sslight_dino_resnet18.sslight_in1k"):
    result = made_result(name=name)
    taken = result.input.model_copy(update={"shape": (1, side, side, 3)})
    return Group("phone", "a phone", (result.model_copy(update={"input": taken}),))


def test_a_report_shows_the_references_of_its_networks():
    found = references([group(224)])
    assert {row.architecture for row in found} == {"resnet18"}
    assert {row.precision for row in found} == {"float"}
    assert all(row.is_reference and row.size == 224 for row in found)
    assert "ranked with none" in " ".join(PUBLISHED.split())
    assert references([group(96)]) == []
    assert references([group(224, "unheard_of")]) == []
