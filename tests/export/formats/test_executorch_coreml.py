"""ExecuTorch programs for Core ML: made anywhere, and computed here by lowzoo's interpreter, which the file says."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.bench.host.target import bench_host
from lowzoo.cli.main import main
from lowzoo.export import ExportSpec, MaxLoss, ParityError
from lowzoo.export.artifact import write_artifact
from lowzoo.export.checking import check_artifact
from lowzoo.export.formats.executorch.coreml import NOT_RUN, hands_to_core_ml, package_of
from lowzoo.export.formats.executorch.writer import notes_of_executorch, open_executorch
from tests.helpers.export import SIDE, tiny_resolved

pytest.importorskip("executorch.runtime")
CORE_ML = {"format": "executorch", "target": "coreml"}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The tiny network in float16, and what its export tells."""
    return write_artifact(
        tiny_resolved(), ExportSpec(**CORE_ML, precision="fp16"), tmp_path_factory.mktemp("pte") / "x.pte"
    )


def test_a_program_says_what_has_not_run_it(program):
    assert 1e-6 < program.parity.relative_error < 5e-3
    assert "MIL interpreter" in program.parity.engine
    assert program.warnings == (NOT_RUN,)
    loaded = open_executorch(program.path)
    assert (loaded.shape, loaded.dtype, loaded.pixels) == ((1, SIDE, SIDE, 3), np.uint8, True)
    assert loaded.metadata == notes_of_executorch(program.path)
    assert loaded.metadata["lowzoo.not_run"] == NOT_RUN
    assert (loaded.metadata["lowzoo.delegate"], loaded.metadata["lowzoo.deployment_target"]) == ("coreml", "iOS16")
    assert "Module(filePath: modelPath)" in program.snippet
    assert "Tensor<UInt8>(values, shape: [1, 32, 32, 3])" in program.snippet


def test_the_same_program_has_the_same_bytes(program, tmp_path):
    again = write_artifact(tiny_resolved(), ExportSpec(**CORE_ML, precision="fp16"), tmp_path / "x.pte")
    assert again.sha256 == program.sha256


def test_its_package_is_float16_and_its_bytes_are_cast_outside(program):
    package = package_of(program.path)
    types = {op.outputs[0].type.tensorType.dataType for op in package.operations if op.type == "conv"}
    assert types == {10}, "FLOAT16"
    taken = package.specification.description.input[0].type.multiArrayType
    assert list(taken.shape) == [1, SIDE, SIDE, 3]
    assert package.specification.specificationVersion == 7, "iOS 16"


def test_a_check_of_it_tells_the_operators_and_what_has_not_run(program):
    report = check_artifact(program.path, tiny_resolved())
    assert not report.broken
    assert report.readiness.operators["conv"] == 1
    assert report.readiness.advice[0].lower() == NOT_RUN.lower()


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1), ("int8", 1)])
def test_other_precisions(precision, bound, tmp_path):
    class Wide(nn.Module):
        """A layer that is large enough to be worth compressing."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 64, 8, 8)

        def forward(self, x):
            return self.conv(x).amax((2, 3))

    spec = ExportSpec(**CORE_ML, precision=precision, input="tensor", batch=2, max_loss=MaxLoss(None, 0.99))
    artifact = write_artifact(tiny_resolved(Wide()), spec, tmp_path / "x.pte")
    assert open_executorch(artifact.path).shape == (2, 3, SIDE, SIDE)
    compressed = artifact.path.stat().st_size < 4 * 64 * 3 * 64
    assert (artifact.parity.relative_error < 1e-5, compressed) == (precision == "fp32", precision == "int8") or (
        precision == "fp32" and artifact.parity.relative_error < 1e-5
    )


def test_a_network_that_falls_into_pieces_is_refused(tmp_path):
    class Hyperbolic(nn.Module):
        """Core ML has no inverse hyperbolic sine."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return torch.relu(torch.asinh(self.conv(x))).amax((2, 3))

    with pytest.raises(LowzooError, match=r"Core ML would take the network in 2 pieces \(aten\.asinh\.default stay"):
        write_artifact(tiny_resolved(Hyperbolic()), ExportSpec(**CORE_ML), tmp_path / "x.pte")
    assert not list(tmp_path.iterdir())


def test_it_is_not_timed_where_it_cannot_run(program, tmp_path, capsys):
    assert hands_to_core_ml(program.path)
    with pytest.raises(LowzooError, match="is for Core ML, which the ExecuTorch of this system lacks"):
        bench_host(program.path, engine="executorch", progress=False)
    runner = tmp_path / "executor_runner"
    runner.write_bytes(b"")
    from lowzoo.bench.android.runners import RUNNERS
    from lowzoo.bench.android.target import _identify

    with pytest.raises(LowzooError, match="is for Core ML, which no Android phone has"):
        _identify(program.path, RUNNERS["executorch"])


def test_a_cut_program(program, tmp_path):
    cut = tmp_path / "cut.pte"
    cut.write_bytes(program.path.read_bytes()[:-2000])
    with pytest.raises((ParityError, LowzooError)):
        open_executorch(cut)
    with pytest.raises(SystemExit) as status:
        main(["check", str(cut)])
    assert status.value.code == 2


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["export", "rob_vit_tiny", "--format", "executorch", "--for", "coreml", "--precision", "fp16"]
    with pytest.raises(SystemExit) as status:
        main([*words, "--ios", "iOS17", "--json"])
    assert status.value.code == 0
    made = json.loads(capsys.readouterr().out)
    assert made["path"].endswith("_fp16_coreml.pte")
    assert NOT_RUN in made["warnings"]
