"""`lowzoo quickstart`: real steps, from the headline line to the table, with no network."""

import json
import socket

import onnxruntime
import pytest
from PIL import Image

import lowzoo.quickstart
from lowzoo.bench.results.protocol import Protocol
from tests.helpers.cli import runner

run = runner("quickstart")


@pytest.fixture(autouse=True)
def offline(monkeypatch, shared_cache):
    def refuse(*arguments, **options):
        raise AssertionError("the quickstart needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(lowzoo.quickstart, "PROTOCOL", Protocol(warmup_s=0, min_runs=3, min_s=0, max_s=1, repeats=1))


@pytest.mark.slow
def test_every_step_leaves_what_it_says(capsys, tmp_path):
    out = tmp_path / "made" / "here"
    code, text, errors = run(capsys, "--out", out, "--json")
    assert code == 0
    found = json.loads(text)
    assert found["model"].startswith("rob_vit_tiny.")
    assert 5e6 < found["params"] < 6e6
    trained, untrained = found["knn"]["trained"], found["knn"]["random_initialisation"]
    assert trained["model"]["trained"]
    assert not untrained["model"]["trained"]
    assert trained["settings"]["k"] == untrained["settings"]["k"] == [20]
    assert trained["data"] == untrained["data"]
    # One class in twelve by chance, one in five for always naming the largest.
    assert untrained["figures"][0]["mean"] > 100 / 12
    assert found["onnx"]["parity"]["relative_error"] < 1e-4
    assert found["onnx"]["parity"]["knn_agreement"] >= 0.98
    assert found["latency"]["statistics"]["median_ms"] > 0
    assert {file.name for file in out.iterdir()} == {"knn.json", "latency.json", "neighbours.png", "rob_vit_tiny.onnx"}
    assert json.loads((out / "knn.json").read_text()) == trained
    assert json.loads((out / "latency.json").read_text())["repeats"]
    with Image.open(out / "neighbours.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 900
    session = onnxruntime.InferenceSession(out / "rob_vit_tiny.onnx")
    assert session.get_inputs()[0].shape == [1, 128, 128, 3]
    steps = [line.split()[0] for line in errors.splitlines() if line[:1].isdigit()]
    assert steps == ["1/4", "2/4", "3/4", "4/4"]


def test_table_and_what_to_type_next(capsys, tmp_path, monkeypatch):
    class Found:
        def rows(self):
            return [("model", "[a] name"), ("time", "7 s")]

    monkeypatch.setattr(lowzoo.quickstart, "run_quickstart", lambda out, say: say(f"working in {out}") or Found())
    code, text, errors = run(capsys, "--out", tmp_path)
    assert code == 0
    assert not errors
    assert text.startswith("Data: the sample set embedded in lowzoo")
    assert f"working in {tmp_path}" in text
    assert "[a] name" in text
    assert "lowzoo export --format onnx" in text


def test_a_place_that_cannot_be_written_to(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, errors = run(capsys, "--out", tmp_path / "file")
    assert code == 2
    assert errors.startswith("lowzoo: error: cannot write to the folder")
    assert errors.count("\n") == 1
