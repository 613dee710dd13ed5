"""Matmuls by oneDNN: fp32 to the last bits, only where that is so, and only while a step runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_source
from lowzoo.train.kernels import onednn
from lowzoo.train.kernels.onednn import check_onednn, onednn_matmuls
from lowzoo.train.monitoring.progress import StepClock
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve
from tests.helpers.train import SETTINGS, make_pictures, make_teacher

CPU = torch.device("cpu")


def possible() -> bool:
    try:
        check_onednn(CPU)
    except LowzooError:
        return False
    return True


needs_exact_onednn = pytest.mark.skipif(not possible(), reason="torch or CPU without exact matmuls by oneDNN")


@needs_exact_onednn
def test_products_are_those_of_fp32() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(300, 500), torch.randn(500, 400)
    exact = left.double() @ right.double()
    plain = (left @ right - exact).abs().max()
    with onednn_matmuls():
        found = (left @ right - exact).abs().max()
    # Sums in another order; bfloat16 would be some thousand times as far away.
    assert found < 4 * plain


@needs_exact_onednn
def test_the_switch_goes_back_whatever_happens() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision

    def fail() -> None:
        with onednn_matmuls():
            assert torch.backends.mkldnn.matmul.fp32_precision != before
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    assert torch.get_float32_matmul_precision() == "highest"


@needs_exact_onednn
def test_a_processor_that_would_round_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded() -> bool:
        return False

    monkeypatch.setattr(onednn, "_exact", rounded)
    with pytest.raises(LowzooError, match="would round to bfloat16") as refused:
        check_onednn(CPU)
    assert refused.value.remedy == "Leave out onednn=true"


def test_what_bfloat16_would_lose_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert onednn._exact()
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: product(a.bfloat16(), b.bfloat16()).float(), raising=True
    )
    assert not onednn._exact()


def test_a_torch_without_the_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(LowzooError, match="cannot hand its matmuls to oneDNN"):
        check_onednn(CPU)


def test_an_accelerator_is_refused() -> None:
    with pytest.raises(LowzooError, match="onednn is for CPUs, and this run is on cuda"):
        check_onednn(torch.device("cuda"))


@needs_exact_onednn
def test_a_run_learns_what_it_learns_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, pictures = make_teacher(tmp_path / "teacher"), open_source(make_pictures(tmp_path / "pictures"))

    switches = []

    def losses(word: str) -> list[float]:
        config = resolve("rob_dino", settings=[*SETTINGS, f"teacher={teacher}", "epochs=1", f"onednn={word}"])
        run = Run(config, pictures, None, tmp_path / word)
        fused = [layer.fused_attn for layer in run.student.modules() if hasattr(layer, "fused_attn")]
        assert fused
        switches.append((any(fused), set()))
        loss_of = run.method.loss

        def losing(*words: Any) -> torch.Tensor:
            switches[-1][1].add(torch.backends.mkldnn.matmul.fp32_precision)
            return loss_of(*words)

        monkeypatch.setattr(run.method, "loss", losing)
        seen = []
        for loss in run.steps(StepClock(run.device)):
            # Between steps the process is as it was.
            assert torch.get_float32_matmul_precision() == "highest"
            seen.append(float(loss))
        return seen

    plain, by_products = losses("false"), losses("true")
    assert switches == [(True, {"none"}), (False, {"bf16"})]
    assert len(plain) == 6
    assert by_products == pytest.approx(plain, rel=1e-4)
