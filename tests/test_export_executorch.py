"""ExecuTorch programs of a tiny network, in ExecuTorch's own runtime."""

from importlib.metadata import PackageNotFoundError

import pytest

from lowzoo.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss, ParityError, export
from lowzoo.export.executorch import open_executorch
from tests.export_fixtures import SIDE, tiny_resolved


@pytest.mark.parametrize("input_", ["image", "tensor"])
def test_a_program(tmp_path, input_):
    pytest.importorskip("executorch.runtime")
    artifact = export(tiny_resolved(), ExportSpec(format="executorch", input=input_), tmp_path / "x.pte")
    assert artifact.parity.relative_error < 1e-5
    assert artifact.parity.engine.startswith("executorch ")
    assert open_executorch(artifact.path).shape == ((1, SIDE, SIDE, 3) if input_ == "image" else (1, 3, SIDE, SIDE))


def test_int8(tmp_path):
    pytest.importorskip("executorch.runtime")
    spec = ExportSpec(format="executorch", precision="int8", max_loss=MaxLoss(None, 0.99))
    artifact = export(tiny_resolved(), spec, tmp_path / "x.pte")
    assert 0.99 <= artifact.parity.mean_cosine < 1


def test_a_cut_program(tmp_path):
    pytest.importorskip("executorch.runtime")
    (tmp_path / "x.pte").write_bytes(b"nonsense" * 9)
    with pytest.raises(ParityError, match="executorch cannot run the artifact"):
        open_executorch(tmp_path / "x.pte")


def test_without_executorch(tmp_path, monkeypatch):
    def none(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("lowzoo.export.installed.requires", none)
    with pytest.raises(LowzooError, match=r"executorch is not installed\. Install lowzoo\[executorch\]"):
        export(tiny_resolved(), ExportSpec(format="executorch"), tmp_path / "x.pte")
    assert not list(tmp_path.iterdir())
