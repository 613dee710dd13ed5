"""Attention by matmuls, where torch's fused kernel is slow."""

from pathlib import Path

import pytest
import timm
import torch

from lowzoo.data.source import open_source
from lowzoo.train.kernels.attention import attend_by_matmuls
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve
from tests.helpers.train import SETTINGS, make_pictures, make_teacher


def test_attention_by_matmuls_attends_alike() -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=0, img_size=32).eval()
    images = torch.randn(3, 3, 32, 32)
    fused = network(images)
    attend_by_matmuls(network)
    assert not any(getattr(layer, "fused_attn", False) for layer in network.modules())
    torch.testing.assert_close(network(images), fused, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_student_in_bf16_on_a_cpu_attends_by_matmuls(tmp_path: Path, precision: str) -> None:
    teacher, pictures = make_teacher(tmp_path / "teacher"), open_source(make_pictures(tmp_path / "pictures"))
    settings = [*SETTINGS, f"teacher={teacher}", "epochs=1", f"precision={precision}", "device=cpu"]
    run = Run(resolve("rob_dino", settings=settings), pictures, None, tmp_path / "run")
    fused = [layer.fused_attn for layer in run.student.modules() if hasattr(layer, "fused_attn")]
    assert fused
    assert any(fused) == (precision == "fp32")
