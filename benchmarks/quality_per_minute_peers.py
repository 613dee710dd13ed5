"""The other sides of `quality_per_minute.py`, each in a process of its own and, if need be, in another environment.

    python benchmarks/quality_per_minute_peers.py NAME '{"folder": ..., "out": ..., "seconds": ..., ...}'

`lightly-train`'s sides are its own: all settings are the ones that it chooses, but for those that a name says
(`-64`: views of 64 px, as the photographs have) and the length, which fills the seconds. `lightly`'s are loops as its
tutorials have them, at 64 px. `plain-distillation` is what anybody would write first: the cosine between a linear map
of the student's features and the teacher's. Needs torch, torchvision and timm, lightly-train and lightly for their
sides, and nothing of lowzoo.

Prints its settings and the seconds spent, as JSON, and leaves the student's weights by timm's names in `out`.
"""

import copy
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

SIDE = 64
_TIMED = 6


class Budget:
    """Seconds by the clock, or of this process' CPU time, and how many steps have room in them."""

    def __init__(self, seconds: float, clock: str) -> None:
        self.seconds = seconds
        self.now = time.perf_counter if clock == "wall" else time.process_time
        self.began = self.now()

    def steps(self, marks: list[float]) -> int:
        """By the pace of a few trial steps, of which the first is left out."""
        return max(2, int(self.seconds / ((marks[-1] - marks[1]) / (len(marks) - 2))))


def lightly_train(words: dict[str, Any], method: str, **more: Any) -> dict[str, Any]:
    """A method of lightly-train by its own automatic settings, as many steps as the seconds have room for."""
    import lightly_train as peer
    from pytorch_lightning import Callback, Trainer

    budget, marks = Budget(words["seconds"], words["clock"]), list[float]()

    class Marks(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            marks.append(budget.now())

    # The trainer takes callbacks of its own making alone.
    begin = Trainer.__init__

    def with_marks(self: Trainer, *args: Any, **kwargs: Any) -> None:
        kwargs["callbacks"] = [*(kwargs.get("callbacks") or []), Marks()]
        begin(self, *args, **kwargs)

    Trainer.__init__ = with_marks  # type: ignore[method-assign]

    def run(steps: int, out: str) -> None:
        peer.pretrain(
            out=out,
            data=words["folder"],
            model=f"timm/{words['student']}",
            method=method,
            epochs=10_000,
            num_workers=words["workers"],
            accelerator="cpu",
            devices=1,
            seed=words["seed"],
            overwrite=True,
            loggers={"tensorboard": None},
            trainer_args={"max_steps": steps},
            **more,
        )

    with tempfile.TemporaryDirectory() as scratch:
        run(_TIMED + 2, scratch)
        steps = budget.steps(marks)
        began = budget.now()
        run(steps, scratch)
        spent = budget.now() - began
        peer.export(
            out=words["out"],
            checkpoint=f"{scratch}/checkpoints/last.ckpt",
            part="model",
            format="package_default",
            overwrite=True,
        )
    return {"method": method, "given": more, "steps": steps, "spent": spent, "pace": budget.seconds / steps}


def _student(name: str) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, num_classes=0)
    return network


def _width(network: nn.Module) -> int:
    with torch.no_grad():
        width: int = network.eval()(torch.zeros(2, 3, SIDE, SIDE)).shape[-1]
    network.train()
    return width


def _batches(words: dict[str, Any], transform: Any, size: int) -> Iterator[Any]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    images = ImageFolder(words["folder"], transform)
    loader = DataLoader(
        images,
        size,
        shuffle=True,
        drop_last=True,
        num_workers=words["workers"],
        persistent_workers=words["workers"] > 0,
    )
    while True:
        for batch, _ in loader:
            yield batch


def _loop(
    words: dict[str, Any], student: nn.Module, batches: Iterator[Any], make: Callable[[int], Callable[[Any, int], None]]
) -> dict[str, Any]:
    """Times a few steps, then takes as many as there is room for; `make` builds a step for a length."""
    budget = Budget(words["seconds"], words["clock"])
    before, marks = copy.deepcopy(student.state_dict()), list[float]()
    trial = make(_TIMED + 2)
    for number in range(_TIMED + 2):
        marks.append(budget.now())
        trial(next(batches), number)
    student.load_state_dict(before)
    steps = budget.steps(marks)
    step, began = make(steps), budget.now()
    for number in range(steps):
        step(next(batches), number)
    torch.save(student.state_dict(), words["out"])
    return {"steps": steps, "spent": budget.now() - began}


def lightly_moco(words: dict[str, Any]) -> dict[str, Any]:
    """MoCo-v2 of lightly's parts: batches of 256, SGD at 0.06, a memory of 4,096."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import MoCoProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import MoCoV2Transform
    from lightly.utils.scheduler import cosine_schedule

    student = _student(words["student"])
    width = _width(student)

    def make(steps: int) -> Callable[[Any, int], None]:
        head = MoCoProjectionHead(width, 512, 128)
        slow, slow_head = copy.deepcopy(student), copy.deepcopy(head)
        deactivate_requires_grad(slow)
        deactivate_requires_grad(slow_head)
        loss = NTXentLoss(memory_bank_size=(4096, 128))
        optimizer = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=0.06, momentum=0.9)

        def step(batch: Any, number: int) -> None:
            momentum = cosine_schedule(number, steps, 0.996, 1)
            update_momentum(student, slow, m=momentum)
            update_momentum(head, slow_head, m=momentum)
            queries = head(student(batch[0]).flatten(1))
            with torch.no_grad():
                keys = slow_head(slow(batch[1]).flatten(1))
            optimizer.zero_grad()
            loss(queries, keys).backward()
            optimizer.step()

        return step

    found = _loop(words, student, _batches(words, MoCoV2Transform(input_size=SIDE), 256), make)
    return {"batch_size": 256, "lr": 0.06, "memory": 4096, "view_size": SIDE} | found


def lightly_dino(words: dict[str, Any]) -> dict[str, Any]:
    """DINO of lightly's parts: batches of 64, Adam at 0.001, six local views of half the side."""
    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import DINOTransform
    from lightly.utils.scheduler import cosine_schedule

    student = _student(words["student"])
    width = _width(student)

    def make(steps: int) -> Callable[[Any, int], None]:
        head = DINOProjectionHead(width, 512, 64, 2048, freeze_last_layer=1)
        slow, slow_head = copy.deepcopy(student), DINOProjectionHead(width, 512, 64, 2048)
        deactivate_requires_grad(slow)
        deactivate_requires_grad(slow_head)
        loss = DINOLoss(output_dim=2048, warmup_teacher_temp_epochs=5)
        optimizer = torch.optim.Adam([*student.parameters(), *head.parameters()], lr=0.001)
        epoch = max(1, words["images"] // 64)

        def step(batch: Any, number: int) -> None:
            momentum = cosine_schedule(number, steps, 0.996, 1)
            update_momentum(student, slow, m=momentum)
            update_momentum(head, slow_head, m=momentum)
            with torch.no_grad():
                targets = [slow_head(slow(view).flatten(1)) for view in batch[:2]]
            said = [head(student(view).flatten(1)) for view in batch]
            optimizer.zero_grad()
            loss(targets, said, epoch=number // epoch).backward()
            head.cancel_last_layer_gradients(current_epoch=number // epoch)
            optimizer.step()

        return step

    transform = DINOTransform(global_crop_size=SIDE, local_crop_size=SIDE // 2)
    found = _loop(words, student, _batches(words, transform, 64), make)
    return {"batch_size": 64, "lr": 0.001, "outputs": 2048, "view_size": SIDE} | found


def plain_distillation(words: dict[str, Any]) -> dict[str, Any]:
    """The cosine between a linear map of the student's features and those of the same teacher."""
    import timm
    from safetensors.torch import load_file
    from torchvision import transforms

    student = _student(words["student"])
    width = _width(student)
    teacher = timm.create_model(words["teacher_architecture"], num_classes=0)
    weights = load_file(words["teacher"])
    teacher.load_state_dict({name: weights[name] for name in teacher.state_dict()})
    teacher.eval().requires_grad_(False)
    outputs = teacher(torch.zeros(1, 3, SIDE, SIDE)).shape[-1]

    def make(steps: int) -> Callable[[Any, int], None]:
        head = nn.Linear(width, outputs)
        optimizer = torch.optim.AdamW([*student.parameters(), *head.parameters()], lr=1e-3, weight_decay=0.04)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)

        def step(batch: Tensor, _: int) -> None:
            # The bundled teacher sees its pictures enlarged, as it does for the other side.
            large = nn.functional.interpolate(batch, size=words["teacher_size"], mode="bicubic", antialias=True)
            with torch.no_grad():
                target = teacher(large)
            near = (normalize(head(student(batch)), dim=-1) * normalize(target, dim=-1)).sum(-1)
            optimizer.zero_grad()
            (1 - near).mean().backward()
            optimizer.step()
            schedule.step()

        return step

    view = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE, (0.4, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    found = _loop(words, student, _batches(words, view, 64), make)
    return {"batch_size": 64, "lr": 1e-3, "view_size": SIDE, "teacher_size": words["teacher_size"]} | found


_AT_64 = {"transform_args": {"image_size": (SIDE, SIDE)}}
# Its local views have 96 px at 224.
_DINO_AT_64 = {"transform_args": {"image_size": (SIDE, SIDE), "local_view": {"view_size": (32, 32)}}}
SIDES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "lightly-train-dino": lambda words: lightly_train(words, "dino"),
    "lightly-train-dino-64": lambda words: lightly_train(words, "dino", **_DINO_AT_64),
    "lightly-train-simclr": lambda words: lightly_train(words, "simclr"),
    "lightly-train-simclr-64": lambda words: lightly_train(words, "simclr", **_AT_64),
    "lightly-moco": lightly_moco,
    "lightly-dino": lightly_dino,
    "plain-distillation": plain_distillation,
}


def main() -> None:
    words = json.loads(sys.argv[2])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if words["clock"] == "processor":
        torch.set_num_threads(1)
    torch.manual_seed(words["seed"])
    found = SIDES[sys.argv[1]](words)
    packages = {"torch": torch.__version__}
    for name in ("timm", "lightly", "lightly_train"):
        if name in sys.modules:
            packages[name] = getattr(sys.modules[name], "__version__", "?")
    assert Path(words["out"]).exists()
    print("\n" + json.dumps(found | {"versions": packages}), flush=True)


if __name__ == "__main__":
    main()
