"""A teacher that sees views at a size of its own, and the one that is bundled."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import interpolate
from torch.testing import assert_close

from lowzoo import catalog
from lowzoo.base.errors import LowzooError, LowzooWarning
from lowzoo.data.source import open_set
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve
from lowzoo.train.teachers import load_teacher
from lowzoo.train.teachers.resized import Resized
from lowzoo.zoo.teacher_file import local_file

SETTINGS = (
    *("teacher=mobilenetv2_supervised", "teacher_head=fitted", "prototypes=8", "fitted_images=64", "steps=2"),
    *("fitted_bottleneck=32", "batch_size=8", "workers=0", "log=none", "monitor_epochs=0", "device=cpu"),
)


def test_the_bundled_teacher_is_the_packages_with_kernels_in_half_precision() -> None:
    entry = catalog.teacher("mobilenetv2_supervised")
    file = local_file(entry)
    assert file is not None
    with safe_open(file, "pt") as content:
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
        assert content.metadata()["sha256"] == entry.sha256
    assert {value.dtype for value in tensors.values() if value.ndim > 1} == {torch.float16}
    assert {value.dtype for value in tensors.values() if value.ndim == 1} == {torch.float32}
    teacher = load_teacher("mobilenetv2_supervised", size=64, head="fitted")
    assert (teacher.facts.license, teacher.facts.training) == ("MIT", "supervised, ImageNet-1k")
    assert sum(value.numel() for value in teacher.backbone.parameters()) == entry.params
    kernel = teacher.backbone.conv_stem.weight
    assert kernel.dtype == torch.float32
    assert torch.equal(kernel, tensors["features.0.0.weight"].float())


def test_a_resized_teacher_sees_the_resized_images() -> None:
    teacher = load_teacher("mobilenetv2_supervised", size=96, head="fitted")
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        larger = teacher.backbone(interpolate(images, (96, 96), mode="bicubic", antialias=True))
        assert_close(Resized(teacher.backbone, 96)(images), larger, rtol=0, atol=0)
        assert not torch.allclose(Resized(teacher.backbone, 64)(images), larger)


def test_the_size_is_the_runs_and_the_caches(tmp_path: Path) -> None:
    images = open_set(None).open("train")
    sums = []
    for size in (64, 96):
        config = resolve(("sample",), settings=[*SETTINGS, "student_head.bottleneck=32", f"teacher_size={size}"])
        run = Run(config, images, None, tmp_path / str(size))
        assert run.teacher is not None
        backbone = run.teacher.teacher.backbone
        assert isinstance(backbone, Resized)
        assert int(backbone.size) == size
        sums.append(run.teacher.teacher.checksum())
    assert sums[0] != sums[1]


def test_patches_of_a_resized_teacher_have_to_fit_its_size() -> None:
    with pytest.raises(LowzooError, match="patch"):
        load_teacher("rob_vit_tiny", size=100)
    with pytest.raises(LowzooError, match="teacher_size must be 0"):
        resolve(("rob_ibot",), settings=["teacher_size=96"])


def test_the_notice_names_every_bundled_file_that_is_somebody_elses() -> None:
    folder = Path(str(local_file(catalog.teacher("mobilenetv2_supervised")))).parent
    notice = (folder / "NOTICE.md").read_text()
    foreign = [file.name for file in folder.glob("*.safetensors") if not file.name.startswith("rob_")]
    assert foreign == ["mobilenetv2_supervised.safetensors"]
    assert all(name in notice for name in foreign)
    assert "MIT License" in notice


def test_another_file_of_the_same_teacher_is_said_when_a_run_goes_on(tmp_path: Path) -> None:
    images = open_set(None).open("train")
    config = resolve(("sample",), settings=[*SETTINGS, "student_head.bottleneck=32", "teacher_size=64"])
    Run(config, images, None, tmp_path / "run").train(Progress())
    facts = tmp_path / "run" / "teacher_head.json"
    assert "mobilenetv2_supervised.safetensors" in facts.read_text()
    facts.write_text(facts.read_text().replace("mobilenetv2_supervised.safetensors", "weights.pt"))
    with pytest.warns(LowzooWarning, match=r"fitted to weights\.pt of mobilenetv2_supervised, which is now"):
        Run(config, images, None, tmp_path / "run", resume=True)
