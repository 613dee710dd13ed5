"""The other sides of `train_speed.py`, each in a process of its own: `lightly-train`, and a loop as a tutorial has it.

    python benchmarks/train_speed_peers.py lightly|plain '{"folder": ..., "teacher": ..., ...}'

Prints the seconds of each measured step, and the processor time of all and of the workers alone, as JSON. Needs torch,
torchvision and timm, and lightly-train for itself, and nothing of lowzoo, so that it can run in another environment.
"""

import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize, softmax

JITTER, GRAY, OUTPUTS = (0.4, 0.4, 0.4, 0.1), 0.2, 1024
# lightly-train's names of the teachers' shapes, without their weights, which change no time.
LIGHTLY = {"vit_base_patch14_dinov2": "vitb14", "vit_small_patch14_dinov2": "vits14"}


class Stopwatch:
    """Notes the time, and the processor time of all processes, at every step; ends the process after the last."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self.warm_up, self.steps = warm_up, steps
        self.times: list[tuple[float, float, float]] = []

    def __call__(self) -> None:
        """A step begins."""
        self.times.append((time.perf_counter(), *processor_seconds()))
        if len(self.times) > self.warm_up + self.steps:
            begin = self.times[self.warm_up :]
            seconds = [after[0] - before[0] for before, after in itertools.pairwise(begin)]
            _, processor, workers = (last - first for first, last in zip(begin[0], begin[-1], strict=True))
            print("\n" + json.dumps({"seconds": seconds, "processor": processor, "workers": workers}))
            sys.stdout.flush()
            os._exit(0)  # none of the sides would end by itself before its epoch does


def processor_seconds() -> tuple[float, float]:
    """So far, of this process and its workers together, and of the workers alone (Linux)."""
    own = workers = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        ticks = int(fields[11]) + int(fields[12])
        if int(stat.parent.name) == os.getpid():
            own += ticks
        elif int(fields[1]) == os.getpid():
            workers += ticks
    second = os.sysconf("SC_CLK_TCK")
    return (own + workers) / second, workers / second


def lightly(words: dict[str, Any]) -> None:
    """`lightly_train.pretrain` with its distillation by a queue, version 1, or its DINO where there is no teacher."""
    import lightly_train
    from lightly_train._methods.dino.dino import DINO
    from lightly_train._methods.distillation.distillation import Distillation
    from lightly_train._methods.method import TrainingStepResult

    tick, kind = Stopwatch(words["warm_up"], words["steps"]), Distillation if words["teacher"] else DINO
    step = kind.training_step_impl

    def timed(self: Any, batch: Any, batch_idx: int) -> Any:
        tick()
        if words["views_alone"]:
            return TrainingStepResult(loss=0 * next(self.student_embedding_model.parameters()).sum())
        return step(self, batch, batch_idx)

    kind.training_step_impl = timed
    brightness, contrast, saturation, hue = JITTER
    views: dict[str, Any] = {
        "image_size": (224, 224),
        "random_resize": {"min_scale": 0.2 if words["teacher"] else 0.14, "max_scale": 1.0},
        "color_jitter": {
            "prob": 0.8,
            "strength": 1.0,
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
            "hue": hue,
        },
        "random_gray_scale": GRAY,
        # Of the first global view; lightly-train's own settings of the others are those of the other sides.
        "gaussian_blur": {"prob": 0.5 if words["teacher"] else 1.0, "sigmas": (0.1, 2.0), "blur_limit": 0},
    }
    if words["teacher"]:
        method = {"teacher": f"dinov2/{LIGHTLY[words['teacher']]}-noreg-notpretrained", "queue_size": 256}
    else:
        method = {"output_dim": OUTPUTS}
        views["local_view"] = {"num_views": words["locals"], "view_size": (96, 96)}
    lightly_train.pretrain(
        out=tempfile.mkdtemp(),
        data=words["folder"],
        model=f"timm/{words['student']}",
        method="distillationv1" if words["teacher"] else "dino",
        method_args=method,
        transform_args=views,
        epochs=1,
        batch_size=words["batch"],
        num_workers=words["workers"],
        accelerator="cpu",
        devices=1,
        precision="32-true",
        overwrite=True,
        loggers={"tensorboard": None},
    )


class DinoHead(nn.Module):
    """The head of DINO's publication: three layers to 256, then prototypes on the sphere."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256)
        )
        self.prototypes = nn.utils.parametrizations.weight_norm(nn.Linear(256, OUTPUTS, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) to scores (N, K)."""
        scores: Tensor = self.prototypes(normalize(self.mlp(x), dim=-1))
        return scores


def plain(words: dict[str, Any]) -> None:
    """DINO with torchvision's transforms and a `DataLoader`; a frozen teacher takes the place of the moving one."""
    import timm
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    def view(size: int, scale: tuple[float, float], blur: float, solarise: float = 0.0) -> Any:
        # An odd kernel of a tenth of the side, as SimCLR has it.
        kernel = size // 10 // 2 * 2 + 1
        return transforms.Compose(
            [
                transforms.RandomResizedCrop(size, scale),
                transforms.RandomHorizontalFlip(),
                transforms.RandomApply([transforms.ColorJitter(*JITTER)], 0.8),
                transforms.RandomGrayscale(GRAY),
                transforms.RandomApply([transforms.GaussianBlur(kernel, (0.1, 2.0))], blur),
                transforms.RandomSolarize(128, solarise),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    if words["teacher"]:
        views = [view(224, (0.2, 1.0), 0.5)]
    else:
        local = view(96, (0.05, 0.14), 0.5)
        views = [view(224, (0.14, 1.0), 1.0), view(224, (0.14, 1.0), 0.1, 0.2), *[local] * words["locals"]]
    images = datasets.ImageFolder(words["folder"], lambda image: [make(image) for make in views])
    loader = DataLoader(
        images, words["batch"], shuffle=True, num_workers=words["workers"], drop_last=True, persistent_workers=True
    )

    def network(name: str, **more: Any) -> nn.Module:
        backbone = timm.create_model(name, num_classes=0, **more)
        with torch.no_grad():
            width = backbone.eval()(torch.zeros(1, 3, 224, 224)).shape[-1]
        return nn.Sequential(backbone, DinoHead(width)).train()

    student = network(words["student"])
    if words["teacher"]:
        teacher = network(words["teacher"], img_size=224).eval()
    else:
        teacher = network(words["student"])
        teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    optimizer = torch.optim.AdamW(student.parameters(), 5e-4, weight_decay=0.04)
    tick, centre, globals_ = Stopwatch(words["warm_up"], words["steps"]), torch.zeros(OUTPUTS), min(2, len(views))
    while True:
        for crops, _ in loader:
            tick()
            if words["views_alone"]:
                continue
            whole = torch.cat(crops[:globals_])
            with torch.no_grad():
                scores = teacher(whole)
                targets = softmax((scores - centre) / 0.04, -1).chunk(globals_)
            made = [*student(whole).chunk(globals_)]
            if len(crops) > globals_:
                made += student(torch.cat(crops[globals_:])).chunk(len(crops) - globals_)
            logs = [log_softmax(scores / 0.1, -1) for scores in made]
            terms = [
                -(target * log).sum(-1).mean()
                for i, target in enumerate(targets)
                for v, log in enumerate(logs)
                if v != i or globals_ == 1
            ]
            optimizer.zero_grad()
            (sum(terms) / len(terms)).backward()
            optimizer.step()
            if not words["teacher"]:
                with torch.no_grad():
                    centre = centre * 0.9 + scores.mean(0) * 0.1
                    for behind, ahead in zip(teacher.parameters(), student.parameters(), strict=True):
                        behind.mul_(0.996).add_(ahead, alpha=0.004)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"lightly": lightly, "plain": plain}[sys.argv[1]](json.loads(sys.argv[2]))
