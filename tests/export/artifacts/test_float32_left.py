"""What an fp16 file still holds in float32 is told when it is written, in the file and by a check, in every format."""

import onnx
import pytest
import torch
from torch import nn

from lowzoo.export import ExportSpec
from lowzoo.export.artifact import write_artifact
from lowzoo.export.artifacts.float32_left import FLOAT32_LEFT, Float32Left
from lowzoo.export.checking import check_artifact, open_artifact
from lowzoo.export.formats import FORMATS
from lowzoo.export.formats.onnx.writer import float32_left
from tests.helpers.export import tiny_resolved
from tests.helpers.slow import slow_but

PLACE, UP = 64 * 64, 128 * 48 * 4
WEIGHTS = 64 * 3 * 16 + PLACE + 128 * 64 + UP
NEEDS = {
    "executorch": "executorch.runtime",
    "litert": "litert_torch",
    "ncnn": "pnnx",
    "mnn": "MNN",
    "openvino": "openvino",
}


class Parts(nn.Module):
    """A bit of everything that a format may treat in its own way: layers, a table of positions, a transposed layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.place = nn.Conv2d(3, 64, 4, 4), nn.Parameter(torch.randn(1, 64, 64))
        self.norm, self.first, self.up = nn.LayerNorm(64), nn.Linear(64, 128), nn.ConvTranspose2d(128, 48, 2, 2)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2) + self.place
        x = torch.relu(self.first(self.norm(x)))
        return self.up(x.transpose(1, 2).unflatten(2, (8, 8))).mean((2, 3))


def written(folder, format_, precision="fp16", model=None):
    if format_ in NEEDS:
        pytest.importorskip(NEEDS[format_])
    spec = ExportSpec(format=format_, precision=precision)
    return write_artifact(tiny_resolved(model or Parts()), spec, folder / f"x{FORMATS[format_].suffix}")


@pytest.mark.parametrize(
    ("format_", "kept"),
    slow_but(
        [
            ("onnx", 0),
            ("openvino", 0),
            ("coreml", 0),
            ("mnn", 0),
            ("ncnn", PLACE),
            ("executorch", UP),
            ("litert", PLACE),
        ],
        (("onnx", 0), ("ncnn", PLACE)),
    ),
)
def test_an_fp16_file_tells_its_float32_weights(format_, kept, tmp_path):
    artifact = written(tmp_path, format_)
    told = [line for line in artifact.warnings if "stay in float32" in line]
    assert [line.partition(" stay")[0] for line in told] == ([f"{kept:,} of {WEIGHTS:,} weights"] if kept else [])
    assert Float32Left.said_by(open_artifact(artifact.path).metadata) == Float32Left(kept, WEIGHTS)
    report = check_artifact(artifact.path, tiny_resolved(Parts()))
    assert sum("stay in float32" in line for line in report.readiness.advice) == len(told)


@pytest.mark.slow
def test_convolutions_for_xnnpack_are_as_small_as_they_say(tmp_path):
    """ExecuTorch by itself would store each in float32, and give a file as large as of fp32."""
    convolutions = nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, groups=64), nn.Conv2d(64, 512, 3)
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    half = written(tmp_path, "executorch", model=model)
    assert half.warnings == ()
    numbers = sum(each.numel() for each in model.parameters())
    assert half.size_bytes < 2.2 * numbers
    assert 1e-6 < half.parity.relative_error < 5e-3


def test_a_file_of_another_precision_claims_nothing(tmp_path):
    assert FLOAT32_LEFT not in open_artifact(written(tmp_path, "onnx", "fp32").path).metadata


def test_one_number_a_channel_is_no_weight():
    left = Float32Left.among([((64,), True), ((3, 1, 1), True), ((64, 3, 4, 4), False), ((1, 8, 8), True)])
    assert left == Float32Left(64, 64 * 48 + 64)
    assert left.sentences("why") == ("64 of 3,136 weights stay in float32 (0.00026 MB): why",)
    assert Float32Left(0, 9).sentences("why") == ()
    assert Float32Left.said_by({FLOAT32_LEFT: "nonsense"}) is None


def test_constants_of_a_graph_are_counted_wherever_they_stand():
    table = onnx.numpy_helper.from_array(torch.ones(4, 5).numpy(), "a")
    node = onnx.helper.make_node(
        "Constant", [], ["b"], value=onnx.numpy_helper.from_array(torch.ones(2, 3).half().numpy())
    )
    graph = onnx.helper.make_graph([node], "g", [], [], [table])
    assert float32_left(onnx.helper.make_model(graph)) == Float32Left(20, 26)
