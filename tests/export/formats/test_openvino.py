"""OpenVINO files of a tiny network in OpenVINO itself: what they say of themselves, and when their parts do not fit."""

import json
import shutil

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.artifacts.places import digest_of
from lowzoo.export.checking import open_artifact
from lowzoo.export.formats import FORMATS
from tests.helpers.export import SIDE, tiny_resolved

pytest.importorskip("openvino", reason="needs lowzoo[openvino]")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return write_artifact(tiny_resolved(), ExportSpec(format="openvino"), tmp_path_factory.mktemp("ov") / "x.xml")


def test_a_file_says_what_it_is(exact):
    assert exact.parity.relative_error < 1e-5
    assert exact.parity.engine.startswith("OpenVINO ")
    loaded = open_artifact(exact.path)
    assert loaded.shape == (1, SIDE, SIDE, 3)
    assert loaded.dtype == np.uint8
    assert loaded.pixels
    assert loaded.metadata["lowzoo.model"] == "tiny.tag"
    assert json.loads(loaded.metadata["lowzoo.preprocessing"])["mean"] == [0.4, 0.5, 0.6]
    assert exact.size_bytes == sum(exact.path.with_suffix(end).stat().st_size for end in (".xml", ".bin"))
    assert "INFERENCE_PRECISION_HINT" in exact.snippet
    ready = FORMATS["openvino"].call("reader", exact.path, loaded)
    assert ready.operators["Convolution"] >= 1


def test_weights_that_are_gone_or_of_another_export_are_named(exact, tmp_path):
    path = tmp_path / "x.xml"
    shutil.copy(exact.path, path)
    with pytest.raises(LowzooError, match=r"its weights, x\.bin, do not lie beside it"):
        open_artifact(path)
    weights = bytearray(exact.path.with_suffix(".bin").read_bytes())
    weights[-1] ^= 1
    path.with_suffix(".bin").write_bytes(bytes(weights))
    with pytest.raises(LowzooError, match=r"x\.bin beside it is not the file that it was written with"):
        open_artifact(path)


@pytest.mark.slow
def test_both_parts_are_replaced_together_and_a_stranger_is_kept(exact, tmp_path):
    shutil.copy(exact.path, tmp_path / "x.xml")
    shutil.copy(exact.path.with_suffix(".bin"), tmp_path / "x.bin")
    half = ExportSpec(format="openvino", precision="fp16")
    again = write_artifact(tiny_resolved(), half, tmp_path / "x.xml", force=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.bin", "x.xml"]
    assert open_artifact(again.path).metadata["lowzoo.precision"] == "fp16"
    assert digest_of(again.path) != digest_of(exact.path)
    (tmp_path / "y.bin").write_bytes(b"of somebody else")
    with pytest.raises(LowzooError, match=r"y\.bin: it exists and belongs to something else"):
        write_artifact(tiny_resolved(), ExportSpec(format="openvino"), tmp_path / "y.xml")
    assert (tmp_path / "y.bin").read_bytes() == b"of somebody else"
    assert not (tmp_path / "y.xml").exists()


@pytest.mark.slow
def test_float16_is_of_weights_alone_and_says_so(exact, tmp_path):
    half = write_artifact(tiny_resolved(), ExportSpec(format="openvino", precision="fp16"), tmp_path / "x.xml")
    assert 1e-7 < half.parity.relative_error < 5e-3
    assert half.path.with_suffix(".bin").stat().st_size < exact.path.with_suffix(".bin").stat().st_size
    assert "which was not run here" in half.warnings[-1]


@pytest.mark.slow
def test_int8_is_measured_in_openvino(tmp_path):
    spec = ExportSpec(format="openvino", precision="int8", max_loss=MaxLoss(None, 0.99))
    artifact = write_artifact(tiny_resolved(), spec, tmp_path / "x.xml")
    assert 0.99 <= artifact.parity.mean_cosine < 1
    assert artifact.parity.engine.startswith("OpenVINO ")
    assert "FakeQuantize" in artifact.path.read_text()
    # A time in onnxruntime would say nothing of this file.
    assert not any("as fast as" in warning for warning in artifact.warnings)


@pytest.mark.slow
def test_a_dynamic_batch(tmp_path):
    artifact = write_artifact(tiny_resolved(), ExportSpec(format="openvino", batch="dynamic"), tmp_path / "x.xml")
    assert open_artifact(artifact.path).shape == (0, SIDE, SIDE, 3)


def test_a_damaged_graph_is_refused_in_one_line(exact, tmp_path):
    path = tmp_path / "x.xml"
    shutil.copy(exact.path.with_suffix(".bin"), path.with_suffix(".bin"))
    path.write_text(exact.path.read_text()[:400])
    with pytest.raises(LowzooError, match="OpenVINO cannot run the artifact") as caught:
        open_artifact(path)
    assert "\n" not in str(caught.value)
