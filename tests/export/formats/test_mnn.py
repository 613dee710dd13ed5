"""MNN files of a tiny network in MNN itself."""

import json
import sys

import numpy as np
import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss
from lowzoo.export.artifact import write_artifact
from lowzoo.export.checking import open_artifact
from tests.helpers.export import SIDE, tiny_resolved

pytest.importorskip("_mnncengine", reason="needs lowzoo[mnn]")


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return write_artifact(tiny_resolved(), ExportSpec(format="mnn"), tmp_path_factory.mktemp("mnn") / "x.mnn")


def test_a_file_says_what_it_is(exact):
    assert exact.parity.relative_error < 1e-5
    loaded = open_artifact(exact.path)
    assert loaded.shape == (1, SIDE, SIDE, 3)
    assert (loaded.dtype, loaded.pixels) == (np.uint8, True)
    assert loaded.metadata["lowzoo.model"] == "tiny.tag"
    assert json.loads(loaded.metadata["lowzoo.preprocessing"])["std"] == [0.2, 0.3, 0.25]
    assert "halide_type_of<uint8_t>" in exact.snippet


def test_converting_loads_nothing_that_installs_or_reports(exact):
    assert "MNN.tools" not in sys.modules


@pytest.mark.slow
def test_int8_weights(exact, tmp_path):
    spec = ExportSpec(format="mnn", precision="int8-dynamic", max_loss=MaxLoss(None, 0.99))
    artifact = write_artifact(tiny_resolved(), spec, tmp_path / "x.mnn")
    assert 0.99 <= artifact.parity.mean_cosine < 1
    assert "Memory_Low" in artifact.snippet


def test_a_file_that_is_none_is_refused_in_one_line_without_a_word_on_the_console(exact, tmp_path, capfd):
    path = tmp_path / "x.mnn"
    damaged = exact.path.read_bytes()[:200]
    for content, words in ((b"nothing of the kind", "no MNN file: it is text"), (damaged, "it is damaged, or no MNN")):
        path.write_bytes(content)
        with pytest.raises(LowzooError, match=words) as caught:
            open_artifact(path)
        assert "\n" not in str(caught.value)
    said = capfd.readouterr()
    assert said.out + said.err == ""
