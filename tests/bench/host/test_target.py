"""The host target: fresh processes, real pictures, one document with everything that may explain a figure."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.machine import condition_now, this_device
from lowzoo.bench.host.target import bench_host
from lowzoo.bench.results.protocol import QUICK, spread, statistics
from lowzoo.bench.results.schema import BenchResult
from lowzoo.bench.subjects.artifact import open_onnx, real_input
from lowzoo.bench.subjects.exported import artifact_of
from lowzoo.system.cores import check_threads, usable_cores
from lowzoo.system.memory import peak_memory_mb
from tests.helpers.bench import SHORT, described, onnx_file


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return bench_host(described(tmp_path_factory.mktemp("bench") / "mean.onnx"), protocol=SHORT)


def test_figures_follow_from_the_raw_samples(result):
    assert len(result.repeats) == SHORT.repeats
    for repeat in result.repeats:
        assert len(repeat.samples_ms) >= SHORT.min_runs
        assert repeat.statistics == statistics(repeat.samples_ms)
        assert repeat.load_ms > 0 < repeat.first_run_ms
        assert repeat.warmup_runs >= 1
    assert result.statistics == statistics([ms for repeat in result.repeats for ms in repeat.samples_ms])
    assert result.spread == spread([repeat.statistics.median_ms for repeat in result.repeats])


def test_it_says_what_was_timed_and_on_what(result):
    assert (result.target, result.quick, result.protocol) == ("host", False, SHORT)
    assert (result.model.name, result.model.revision, result.model.precision) == ("mean.tag", "sha256:abc", "fp32")
    assert (result.input.type, result.input.shape) == ("tensor(uint8)", (1, 8, 8, 3))
    assert result.input.content.startswith("photograph ")
    assert (result.engine.name, result.engine.version, result.engine.threads) == (
        "onnxruntime",
        version("onnxruntime"),
        1,
    )
    assert result.device.kind == "computer"
    assert result.device.cpu
    assert any("not a phone" in warning for warning in result.warnings)
    assert any("not the standard protocol" in warning for warning in result.warnings)


def test_the_file_is_identified(result, tmp_path):
    file = described(tmp_path / "mean.onnx")
    assert result.model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert result.model.size_bytes == file.stat().st_size


@pytest.mark.skipif(peak_memory_mb() is None, reason="this system does not tell the memory of a process")
def test_memory_is_that_of_the_child_not_of_this_process(result):
    own = peak_memory_mb()
    for repeat in result.repeats:
        assert 5 < repeat.baseline_memory_mb <= repeat.peak_memory_mb < own
    assert result.peak_memory_mb == max(repeat.peak_memory_mb for repeat in result.repeats)


def test_the_document_is_read_back(result):
    document = json.loads(result.to_json())
    assert document["schema"] == "lowzoo.bench/1"
    assert BenchResult.model_validate(document) == result
    with pytest.raises(ValueError, match="extra"):
        BenchResult.model_validate(document | {"colour": "red"})
    with pytest.raises(ValueError, match=r"lowzoo\.bench/1"):
        BenchResult.model_validate(document | {"schema": "lowzoo.bench/2"})


def test_a_single_repeat_has_no_spread(tmp_path):
    result = bench_host(onnx_file(tmp_path / "mean.onnx"), protocol=QUICK, progress=False)
    assert result.quick
    assert result.spread is None
    assert result.model.name is None, "the file does not tell"


def test_the_process_that_measures_imports_no_framework():
    code = "import sys, lowzoo.bench.host.process, lowzoo.bench.engines.ort; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in loaded
    assert not {"torch", "timm", "onnx", "PIL", "cv2", "pydantic", "lowzoo.train"} & set(loaded)


def test_a_file_in_the_current_folder_does_not_disturb(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('not the real numpy')")
    monkeypatch.chdir(tmp_path)
    assert bench_host(onnx_file(tmp_path / "mean.onnx"), protocol=SHORT).statistics.n >= SHORT.min_runs


@pytest.mark.parametrize(
    ("shape", "element", "numpy_type"),
    [
        ((1, 8, 8, 3), TensorProto.UINT8, np.uint8),
        ((1, 3, 8, 10), TensorProto.UINT8, np.uint8),
        ((2, 3, 8, 8), TensorProto.FLOAT, np.float32),
        (("batch", 8, 8, 3), TensorProto.FLOAT, np.float32),
        ((1, 3, 8, 8), TensorProto.FLOAT16, np.float16),
    ],
)
def test_a_picture_in_every_layout(tmp_path, shape, element, numpy_type):
    file = open_onnx(onnx_file(tmp_path / "mean.onnx", shape, element))
    pixels, photo = real_input(file)
    assert pixels.shape == file.shape == tuple(1 if side == "batch" else side for side in shape)
    assert pixels.dtype == numpy_type
    assert pixels.flags.c_contiguous
    assert photo.endswith(".jpg")
    assert pixels.std() > 0.1, "a picture, not a plain area"


def test_a_tensor_is_normalised_as_the_file_says(tmp_path):
    by_file = real_input(open_onnx(described(tmp_path / "a.onnx", shape=(1, 3, 8, 8), element=TensorProto.FLOAT)))[0]
    pixels = real_input(open_onnx(onnx_file(tmp_path / "b.onnx", (1, 8, 8, 3))))[0]
    expected = (pixels.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(by_file, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": 2},
        {"shape": (1, 8, 8)},
        {"shape": (1, 8, 8, 4)},
        {"shape": (1, "h", "w", 3)},
        {"element": TensorProto.INT64},
    ],
)
def test_files_that_take_no_picture(tmp_path, changes):
    with pytest.raises(LowzooError, match=r"input"):
        open_onnx(onnx_file(tmp_path / "mean.onnx", **changes))


def test_files_that_are_none(tmp_path):
    whole = described(tmp_path / "mean.onnx").read_bytes()
    for name, content in (("cut.onnx", whole[: len(whole) // 2]), ("empty.onnx", b""), ("text.onnx", b"hello\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LowzooError, match=f"{name} is no ONNX file") as refused:
            open_onnx(tmp_path / name)
        assert refused.value.remedy
    with pytest.raises(LowzooError, match=r"none\.onnx does not exist"):
        open_onnx(tmp_path / "none.onnx")
    with pytest.raises(LowzooError, match="is no file"):
        open_onnx(tmp_path)


def test_a_graph_that_fails_when_it_runs(tmp_path):
    picture = helper.make_tensor_value_info("in", TensorProto.UINT8, (1, 8, 8, 3))
    given = helper.make_tensor_value_info("out", TensorProto.UINT8, None)
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 7])
    nodes = [
        helper.make_node("NonZero", ["in"], ["places"]),  # of a number that only a run tells
        helper.make_node("Reshape", ["places", "shape"], ["out"]),
    ]
    given = helper.make_tensor_value_info("out", TensorProto.INT64, None)
    graph = helper.make_graph(nodes, "bad", [picture], [given], [shape])
    file = tmp_path / "bad.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    with pytest.raises(LowzooError, match=r"bad\.onnx cannot be run"):
        bench_host(file, protocol=SHORT)


def test_threads():
    check_threads(usable_cores())
    for threads in (0, usable_cores() + 1):
        with pytest.raises(LowzooError, match=f"{threads} threads are impossible here"):
            check_threads(threads)


def test_this_computer():
    device = this_device()
    assert device.cores <= (os.cpu_count() or 1)
    assert device.arch == os.uname().machine
    condition = condition_now()
    assert condition.load_average is None or condition.load_average >= 0
    assert condition.temperature_c is None or -50 < condition.temperature_c < 150


def test_a_file_of_another_engine_is_refused_by_name(tmp_path):
    for name, suffix in (("a.onnx", ".param"), ("a.mnn", ".onnx"), ("a.bin", ".xml")):
        (tmp_path / name).write_bytes(b"weights")
        with pytest.raises(LowzooError, match=rf"{name} is no {suffix} file, which this engine runs"):
            artifact_of(tmp_path / name, suffix, untrained=False).__enter__()
    (tmp_path / "any.name").write_bytes(b"weights")
    with artifact_of(tmp_path / "any.name", ".onnx", untrained=False) as found:
        assert found == tmp_path / "any.name"
