"""What is known of families: data, table and command line agree, and an architecture finds its family."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from lowzoo.catalog.families import FamilyEntry, families, family_of
from lowzoo.cli.main import main
from lowzoo.export.formats import FORMATS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "export_families.json"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "benchmarks"))  # where its neighbours are
    found = importlib.util.spec_from_file_location("export_families", ROOT / "benchmarks" / "export_families.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_the_tables_are_those_of_the_measurements(script):
    document = json.loads(RESULTS.read_text())
    assert script.data(document) == script.DATA.read_text()
    assert script.table(document) == RESULTS.with_suffix(".md").read_text()


def test_every_result_is_of_a_format(script):
    assert list(script.FORMATS) == FORMATS.names()
    assert families()
    for name, entry in families().items():
        assert entry.results.keys() <= set(FORMATS.names()), name
        assert family_of(entry.tried) is entry


def test_families_are_timm_s_modules():
    entry = family_of("mobilenetv3_large_100")
    assert entry is None or entry.name == "mobilenetv3"
    assert family_of("no_such_network") is None
    assert family_of("a.b(") is None


def test_the_sentence():
    entry = FamilyEntry("levit", "levit_128s", {"onnx": "ok", "coreml": "ok", "litert": "no such operator"})
    assert entry.sentence() == "onnx, coreml (family levit, tried on levit_128s); not litert: no such operator"
    assert FamilyEntry("x", "y", {"onnx": "z"}).sentence() == "nothing (family x, tried on y); not onnx: z"


def test_info_tells_it(capsys):
    entry = next(iter(families().values()))
    with pytest.raises(SystemExit) as ended:
        main(["info", entry.tried, "--json"])
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)["exports"]
    assert said == {"family": entry.name, "tried": entry.tried, "results": entry.results}
