"""Teachers from other people's checkpoints: filled by name and completely, never unpickled."""

import argparse
import os
from pathlib import Path

import pytest
import timm
import torch

from lowzoo.errors import LowzooError
from lowzoo.train.checkpoints_official import load_dino, load_mobilenetv2_flat, read_checkpoint
from lowzoo.train.head_files import load_head, save_head
from lowzoo.train.heads import DINOHead, HeadSpec
from lowzoo.train.teachers import load_teacher

_STAGES = (1, 2, 3, 4, 3, 3, 1)


def dino_checkpoint(path: Path, *, head: bool = True) -> tuple[torch.nn.Module, DINOHead]:
    """A ViT-Ti/16 in the layout of a full DINO checkpoint; the student branch holds other values."""
    torch.manual_seed(0)
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    top = DINOHead(192, 40, hidden=32, bottleneck=16)
    torch.nn.init.uniform_(top.last_layer.weight_g, 0.5, 2.0)
    teacher = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    if head:
        teacher |= {f"head.{key}": value for key, value in top.state_dict().items()}
    student = {f"module.{key}": torch.zeros_like(value) for key, value in teacher.items()}
    torch.save({"teacher": teacher, "student": student, "args": argparse.Namespace(arch="vit"), "epoch": 1}, path)
    return backbone.eval(), top.eval()


def test_dino_full_checkpoint_gives_the_teacher_branch_with_its_head(tmp_path: Path) -> None:
    backbone, head = dino_checkpoint(tmp_path / "full.pth")
    found, found_head = load_dino(tmp_path / "full.pth", "vit_tiny_patch16_224", 224)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(found.eval()(images), backbone(images))
        torch.testing.assert_close(found_head(found(images)), head(backbone(images)))


def test_dino_checkpoint_without_head_is_refused(tmp_path: Path) -> None:
    dino_checkpoint(tmp_path / "headless.pth", head=False)
    with pytest.raises(LowzooError, match="has no projection head") as caught:
        load_dino(tmp_path / "headless.pth", "vit_tiny_patch16_224", 224)
    assert "full checkpoint" in caught.value.remedy
    dino_checkpoint(tmp_path / "full.pth")
    with pytest.raises(LowzooError, match="does not fit vit_small_patch16_224"):
        load_dino(tmp_path / "full.pth", "vit_small_patch16_224", 224)


def test_flat_mobilenetv2_maps_every_key(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = timm.create_model("mobilenetv2_100", num_classes=0).eval()
    state = reference.state_dict()
    flat = {}
    for key, value in state.items():
        flat[_flat_name(key)] = value
    assert len(flat) == len(state)
    torch.save(flat, tmp_path / "flat.pt")
    loaded = load_mobilenetv2_flat(tmp_path / "flat.pt")
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    del flat["features.3.conv.3.weight"]
    torch.save(flat, tmp_path / "short.pt")
    with pytest.raises(LowzooError, match=r"missing \['blocks"):
        load_mobilenetv2_flat(tmp_path / "short.pt")


def test_a_checkpoint_that_would_run_code_does_not(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"teacher": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(LowzooError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "harmful.pth")
    assert not (tmp_path / "ran").exists()


def test_catalog_teachers_without_their_file_say_where_it_is() -> None:
    with pytest.raises(LowzooError, match="needs its checkpoint") as caught:
        load_teacher("dino_vits16", size=224)
    assert "teacher_file" in caught.value.remedy
    with pytest.raises(LowzooError, match="does not exist"):
        load_teacher("dino_vits16", size=224, file="nowhere.pth")


def test_a_teacher_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"something else")
    with pytest.raises(LowzooError, match="is not the file of teacher mobilenetv2_supervised"):
        load_teacher("mobilenetv2_supervised", size=96, head="fitted", file=str(tmp_path / "weights.pt"))


@pytest.mark.parametrize("kind", ["dino", "mlp", "msn", "fitted"])
def test_heads_survive_their_files(kind: str, tmp_path: Path) -> None:
    spec = HeadSpec(kind=kind, layers=2, hidden=12, bottleneck=6)
    head = spec.build(10, 7).eval()
    save_head(tmp_path / "head.safetensors", head, spec, 10, 7)
    again, found, in_dim, out_dim = load_head(tmp_path / "head.safetensors")
    assert (found, in_dim, out_dim) == (spec, 10, 7)
    features = torch.randn(3, 10)
    torch.testing.assert_close(again(features), head(features))
    (tmp_path / "head.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(LowzooError, match="is not a projection head"):
        load_head(tmp_path / "head.safetensors")


def _flat_name(key: str) -> str:
    """timm's name to `features.N...`, written out the other way round than the loader does."""
    fixed = {"conv_stem": "features.0.0", "bn1": "features.0.1", "conv_head": "features.18.0", "bn2": "features.18.1"}
    first, rest = key.split(".", 1)
    if first in fixed:
        return f"{fixed[first]}.{rest}"
    _, stage, block, layer, leaf = key.split(".")
    number = 1 + sum(_STAGES[: int(stage)]) + int(block)
    if number == 1:
        slots = {"conv_dw": 0, "bn1": 1, "conv_pw": 3, "bn2": 4}
    else:
        slots = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}
    return f"features.{number}.conv.{slots[layer]}.{leaf}"
