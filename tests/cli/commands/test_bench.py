"""`lowzoo bench`: the table, the document, a model that is exported first, and misuse."""

import json
from pathlib import Path

import pytest

from lowzoo.bench.host.comparison import Comparison
from lowzoo.bench.host.turns import ratio_of
from lowzoo.bench.results.assemble import read_results
from lowzoo.bench.results.lines import comparison_lines
from tests.helpers.bench import SHORT, described
from tests.helpers.cli import runner
from tests.helpers.export import tiny_resolved


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("lowzoo.bench.results.protocol.STANDARD", SHORT)
    monkeypatch.setattr("lowzoo.bench.host.target.WATCH_S", 0.0)


run = runner("bench")


def test_the_table(capsys, artifact, tmp_path):
    out = tmp_path / "results" / "latency.json"
    code, text, _ = run(capsys, artifact, "--out", out)
    assert code == 0
    assert text.startswith("Model: mean.tag, 0.0 MB, fp32\n")
    for word in ("median", "p90", "p99", "min", "mean", "std", "runs", "Medians of 2 processes", "first run", "Load"):
        assert word in text
    assert "Note: a computer's CPU: a regression guard, not a phone" in text
    assert text.endswith(f"Written to {out}\n")
    assert json.loads(out.read_text())["schema"] == "lowzoo.bench/1"


def test_the_document(capsys, artifact):
    code, text, _ = run(capsys, artifact, "--json", "--repeats", 3)
    document = json.loads(text)
    assert code == 0
    assert len(document["repeats"]) == 3
    assert document["statistics"]["n"] == sum(len(repeat["samples_ms"]) for repeat in document["repeats"])


@pytest.mark.slow
def test_a_model_is_exported_first(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("lowzoo.zoo.given.load_model", lambda word, **_: tiny_resolved())
    monkeypatch.chdir(tmp_path)
    code, text, _ = run(capsys, "tiny", "--quick", "--json")
    document = json.loads(text)
    assert code == 0
    assert (document["model"]["name"], document["quick"], len(document["repeats"])) == ("tiny.tag", True, 1)
    assert not list(tmp_path.iterdir()), "the exported file was a temporary one"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "pixel-8"], "unknown target 'pixel-8'. Choose one of host, browser"),
        (["{folder}/a.onnx", "{folder}/b.onnx", "--on", "browser"], "2 models cannot be compared on browser"),
        (["{folder}/a.onnx", "{folder}/b.onnx", "{folder}/c.onnx"], "3 models cannot be compared on host"),
        (["{folder}/a.onnx", "--engine", "torch-compile", "--on", "android"], "unknown engine 'torch-compile' for"),
        (["{folder}/a.onnx", "--threads", "two"], "'two' is no number of threads"),
        (["--engine", "tvm"], "unknown engine 'tvm' for host. Use --engine onnxruntime or"),
        (["--threads", "0"], "0 threads are impossible here"),
        (["--repeats", "0"], "0 repeats are impossible"),
        (["--out", "{folder}"], "it is a directory"),
        (["--out", "{folder}/cut.onnx/latency.json"], "cannot write to the folder"),
        (["{folder}/none.onnx"], "none.onnx does not exist"),
        (["{folder}/cut.onnx"], "cut.onnx is no ONNX file"),
        (["rob_vit_tny"], "unknown model rob_vit_tny (near: rob_vit_tiny"),
    ],
)
def test_misuse(capsys, artifact, tmp_path, words, said):
    content = artifact.read_bytes()
    artifact.unlink()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: len(content) // 2])
    code, text, error = run(capsys, *[word.format(folder=tmp_path) for word in words])
    assert (code, text) == (2, "")
    assert error.startswith("lowzoo: error: ")
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [cut]


def test_a_file_needs_no_suffix(capsys, artifact):
    bare = Path(artifact).rename(artifact.with_suffix(""))
    assert run(capsys, bare, "--quick")[0] == 0


@pytest.mark.slow
def test_two_files_in_turns(capsys, artifact, tmp_path):
    other = described(tmp_path / "wide.onnx", shape=(1, 512, 512, 3))
    code, text, _ = run(capsys, artifact, other, "--json", "--out", tmp_path / "ratio.json")
    document = json.loads(text)
    assert code == 0
    assert document["schema"] == "lowzoo.bench.compare/1"
    assert document["a"]["file"] == "mean.onnx"
    assert document["ratio"]["low"] > 1, "a thousand times the pixels take longer"
    assert (tmp_path / "ratio.json").read_text() == text
    found = Comparison.model_validate(document)
    assert ratio_of(found.processes) == found.ratio, "the raw samples give the interval again"
    assert "Verdict: A is" in "\n".join(comparison_lines(found))


def test_several_numbers_of_threads_are_a_set(capsys, artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("lowzoo.system.cores.usable_cores", lambda: 2)
    out = tmp_path / "set.json"
    code, text, _ = run(capsys, artifact, "--quick", "--threads", "1,all", "--json", "--out", out)
    document = json.loads(text)
    assert code == 0
    assert document["schema"] == "lowzoo.bench.set/1"
    assert [row["engine"]["threads"] for row in document["results"]] == [1, 2]
    assert [row.engine.threads for row in read_results(out)] == [1, 2]


def test_a_file_says_what_runs_it(capsys, tmp_path):
    code, _, error = run(capsys, tmp_path / "none.pte", "--quick")
    assert (code, "none.pte does not exist" in error or "executorch is not installed" in error) == (2, True)
