"""ncnn files of tiny networks in ncnn itself, and ncnn's graph as a text that carries our metadata."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec
from lowzoo.export.artifact import default_path, write_artifact
from lowzoo.export.checking import open_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.export.formats.ncnn.graph import append_notes, layers_of, notes_of_ncnn, write_layers
from tests.helpers.export import SIDE, tiny_resolved

GRAPH = """7767517
3 3
Input                    in0                      0 1 in0
Convolution              conv_0                   1 1 in0 1 0=8 1=3 -23310=2,0.0,6.0
Pooling                  gap_0                    1 1 1 out0 0=1 4=1
"""


def test_a_graph_keeps_its_layers_and_says_what_it_is(tmp_path):
    path = tmp_path / "x.param"
    path.write_text(GRAPH)
    layers = layers_of(path)
    assert [layer.kind for layer in layers] == ["Input", "Convolution", "Pooling"]
    assert layers[1].reads == ("in0",)
    assert layers[1].settings == ("0=8", "1=3", "-23310=2,0.0,6.0")
    write_layers(path, layers)
    append_notes(path, {"lowzoo.model": "a b", "lowzoo.input": '{"name": "image"}'})
    assert layers_of(path) == layers
    assert notes_of_ncnn(path) == {"lowzoo.model": "a b", "lowzoo.input": '{"name": "image"}'}
    path.write_text(GRAPH.replace("3 3", "4 4"))
    with pytest.raises(ValueError, match="3 of 4 layers"):
        layers_of(path)
    assert notes_of_ncnn(path) == {}


def test_a_batch_and_int8_are_refused_by_name():
    with pytest.raises(LowzooError, match=r"ncnn has no batch.*Use --batch 1"):
        ExportSpec(format="ncnn", batch=2)
    with pytest.raises(LowzooError, match="ncnn is exported with a fixed batch"):
        ExportSpec(format="ncnn", batch="dynamic")
    with pytest.raises(LowzooError, match=r"ncnn cannot be exported in precision 'int8'.*Use fp32 or fp16"):
        ExportSpec(format="ncnn", precision="int8")


class Small(nn.Module):
    """A convolution and its mean."""

    def __init__(self, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 5, 2)

    def forward(self, x):
        return self.conv(x).relu().mean((2, 3))


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    pytest.importorskip("ncnn", reason="needs lowzoo[ncnn]")
    pytest.importorskip("pnnx", reason="needs lowzoo[ncnn]")
    path = tmp_path_factory.mktemp("ncnn") / "x.ncnn.param"
    return write_artifact(tiny_resolved(Small()), ExportSpec(format="ncnn"), path)


class Tokens(nn.Module):
    """Patches, their mean as a ViT without a class token has it, a sum and a norm as some attention has them."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.mix = nn.Linear(16, 16)

    def forward(self, x):
        tokens_BNC = self.mix(self.patches(x).flatten(2).transpose(1, 2))
        tokens_BNC = tokens_BNC - tokens_BNC.mean(2, keepdim=True)
        gates_B1C = tokens_BNC.sum(1, keepdim=True).sigmoid()
        scale_B1C = tokens_BNC.norm(dim=1, keepdim=True)
        return (tokens_BNC * gates_B1C / (1 + scale_B1C)).mean(1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_mean_over_patches_is_a_mean(exact, tmp_path, precision):
    spec = ExportSpec(format="ncnn", precision=precision)
    made = write_artifact(tiny_resolved(Tokens()), spec, tmp_path / "tokens.param")
    assert made.parity.min_cosine > 0.9999


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(tmp_path, exact, channels):
    resolved = dataclasses.replace(
        tiny_resolved(Small(channels)), input_size=(channels, SIDE, SIDE), mean=(0.5,) * channels, std=(0.5,) * channels
    )
    made = write_artifact(resolved, ExportSpec(format="ncnn"), tmp_path / "x.ncnn.param")
    assert made.parity.relative_error < 1e-5


def test_a_file_says_what_it_is(exact):
    assert exact.parity.relative_error < 1e-5
    loaded = open_artifact(exact.path)
    assert loaded.shape == (1, 3, SIDE, SIDE)
    assert (loaded.dtype, loaded.pixels) == (np.float32, True)
    assert loaded.metadata["lowzoo.model"] == "tiny.tag"
    assert json.loads(loaded.metadata["lowzoo.input"])["name"] == "image"
    assert "use_fp16_arithmetic = false" in exact.snippet
    assert FORMATS["ncnn"].call("reader", exact.path, loaded).operators["Convolution"] >= 1
    assert default_path(tiny_resolved(), exact.spec).name == f"tiny.tag_{SIDE}_fp32.ncnn.param"
    assert exact.path.with_suffix(".bin").name == "x.ncnn.bin"


def test_weights_that_are_gone_or_of_another_export_are_named(exact, tmp_path):
    path = tmp_path / "x.ncnn.param"
    shutil.copy(exact.path, path)
    with pytest.raises(LowzooError, match=r"its weights, x\.ncnn\.bin, do not lie beside it"):
        open_artifact(path)
    path.with_suffix(".bin").write_bytes(exact.path.with_suffix(".bin").read_bytes()[::-1])
    with pytest.raises(LowzooError, match=r"x\.ncnn\.bin beside it is not the file"):
        open_artifact(path)


@pytest.mark.slow
def test_float16_says_what_was_not_run(exact, tmp_path):
    half = write_artifact(tiny_resolved(Small()), ExportSpec(format="ncnn", precision="fp16"), tmp_path / "x.param")
    assert 1e-7 < half.parity.relative_error < 5e-3
    assert half.path.with_suffix(".bin").stat().st_size < exact.path.with_suffix(".bin").stat().st_size
    assert "use_fp16_arithmetic = false" not in half.snippet


class Largest(nn.Module):
    """A largest value over both sides, which pnnx writes as a layer that ncnn has not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x).amax((2, 3))


def test_what_ncnn_has_no_layer_for_is_named(tmp_path):
    pytest.importorskip("ncnn", reason="needs lowzoo[ncnn]")
    pytest.importorskip("pnnx", reason="needs lowzoo[ncnn]")
    with pytest.raises(LowzooError, match="it uses ReduceMax, which ncnn has no layer for") as caught:
        write_artifact(tiny_resolved(Largest()), ExportSpec(format="ncnn"), tmp_path / "x.param")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
