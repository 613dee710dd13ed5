"""A tiny teacher with its own head, tiny pictures and a tiny configuration: a whole run in seconds."""

from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from lowzoo.train import run_folder
from lowzoo.train.head_files import save_head
from lowzoo.train.heads import HeadSpec

WIDTH, OUTPUTS = 64, 24
SETTINGS = [
    "student=test_vit",
    "batch_size=4",
    "workers=0",
    "checkpoint_steps=2",
    "monitor_bank=24",
    "monitor_queries=8",
    "student_head.layers=2",
    "student_head.hidden=16",
    "student_head.bottleneck=8",
    "device=cpu",
    "precision=fp32",
    "tensorboard=false",
    'views=[{name="global",count=2,size=32,scale=[0.4,1.0],blur=[0.5]},{name="local",count=2,size=16,scale=[0.1,0.4]}]',
]


def make_teacher(folder: Path) -> Path:
    """A random `test_vit` with a random DINO head, as a run folder leaves them."""
    torch.manual_seed(5)
    backbone = timm.create_model("test_vit", num_classes=0, img_size=32)
    folder.mkdir()
    run_folder.save_student(folder, backbone, "test_vit", 32, WIDTH)
    spec = HeadSpec(layers=2, hidden=16, bottleneck=8)
    save_head(folder / "head.safetensors", spec.build(WIDTH, OUTPUTS), spec, WIDTH, OUTPUTS)
    return folder


def make_pictures(folder: Path, count: int = 24) -> Path:
    """`train/` and `validation/` with two classes of smooth random pictures."""
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("validation", 8)):
        for index in range(number):
            name = ("cold", "warm")[index % 2]
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
            small[..., 2 * (index % 2)] //= 4
            picture = Image.fromarray(small).resize((50, 40), Image.Resampling.BICUBIC)
            picture.save(folder / split / name / f"{index:03}.png")
    return folder
