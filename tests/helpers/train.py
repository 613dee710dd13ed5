"""A tiny teacher with its own head, tiny pictures and a tiny configuration: a whole run in seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image

from lowzoo.data.source import open_source
from lowzoo.train.heads import HeadSpec
from lowzoo.train.heads.files import save_head
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.config import resolve

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


LOCALS = 'views=[{name="global",count=1,size=32,scale=[0.4,1.0]},{name="local",count=2,size=16,scale=[0.1,0.4]}]'

# Words that make a tiny run of each method: presets, settings, and the kind of head that its teacher needs.
METHODS: dict[str, tuple[tuple[str, ...], list[str], str | None]] = {
    "rob_dino": (("rob_dino",), [], "dino"),
    "rob_msn": (("rob_msn",), ["patch_drop=0.25", "student_head.hidden=16"], "msn"),
    "rob_swav": (("rob_swav",), ["student_head.hidden=16", "target_queue=24"], "swav"),
    "rob_swav_teacher_scores": (("rob_swav",), ["student_head.kind=mlp", "student_scores=teacher"], "swav"),
    "rob_swav_bridge": (("rob_swav", "rob_swav_bridge"), ["student_head.hidden=16"], "dino"),
    "rob_ibot": (("rob_ibot",), ["student_head.hidden=16"], "ibot"),
    "seed": (("seed",), ["queue=16", "student_head.bottleneck=8", "lr=0.5"], "moco"),
    "seed_small_patch": (("seed", "seed_small_patch"), ["queue=16", "student_head.bottleneck=8", LOCALS], "swav"),
    # The presets of SSLight's views name the size of the local ones.
    "sslight_dino": (("sslight_dino_vit", "sslight_views_sslight"), ["prototypes=24", "view.local.size=16"], None),
    "sslight_swav": (
        ("sslight_swav_cnn", "sslight_views_sslight"),
        ["prototypes=12", "queue=8", "queue_start=0.3", "student_head.hidden=16", "view.local.size=16"],
        None,
    ),
    "sslight_moco": (
        ("sslight_moco_cnn", "sslight_views_baseline_cnn"),
        ["queue=16", "student_head.hidden=16", "view.local.size=16"],
        None,
    ),
}


def make_teacher(folder: Path, kind: str = "dino") -> Path:
    """A random `test_vit` with a random head, as a run folder leaves them."""
    torch.manual_seed(5)
    backbone = timm.create_model("test_vit", num_classes=0, img_size=32)
    folder.mkdir()
    run_folder.save_student(folder, backbone, "test_vit", 32, WIDTH)
    spec = HeadSpec(kind=kind, layers=2, hidden=16, bottleneck=8)
    outputs = 8 if kind == "moco" else OUTPUTS
    save_head(folder / "head.safetensors", spec.build(WIDTH, outputs), spec, WIDTH, outputs)
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


def config_of(method: str, world: Path, *more: str) -> TrainConfig:
    """The configuration of a tiny run of `METHODS`; its teacher is made in `world` if it is not there."""
    layers, settings, kind = METHODS[method]
    teacher = []
    if kind is not None:
        folder = world / f"teacher_{kind}"
        if not folder.exists():
            make_teacher(folder, kind)
        teacher = [f"teacher={folder}"]
    views = [] if LOCALS in settings else [setting for setting in SETTINGS if setting.startswith("views")]
    if method == "seed":
        views = ['views=[{name="global",count=1,size=32,scale=[0.4,1.0]}]']
    common = [setting for setting in SETTINGS if not setting.startswith("views")]
    return resolve(layers, settings=[*common, *views, *teacher, "epochs=2", *settings, *more])


def start(
    world: Path,
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    from_step: int | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """A run on the pictures of `make_pictures`, ready for its first step."""
    source, held_out = open_source(world), open_source(world, "validation")
    return Run(config, source, held_out, out, resume=resume, from_step=from_step, teacher_cache=cache, say=say)
