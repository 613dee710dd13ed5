"""The other sides of `quality_per_minute.py`, each in a process of its own and, if need be, in another environment.

    python benchmarks/quality_per_minute_peers.py NAME '{"folder": ..., "out": ..., "steps": ..., ...}'

`lightly-train`'s sides are its own: all settings are the ones that it chooses, but for those that a name says
(`-64`: views of 64 px, as the photographs have) and the length. `lightly`'s are loops of its parts with the values of
its tutorials, at 64 px; what these state in epochs is laid over the steps, and the rate falls by a cosine.
`plain-distillation` is no package's: the cosine between a linear map of the student's features and the teacher's, with
the initialisation, AdamW, the peak rate and the precision of lowzoo's sides, and a constant weight decay. Needs torch,
torchvision and timm, lightly-train and lightly for their sides, and nothing of lowzoo.

Prints as JSON its settings, the seconds from `began` (by `time.time`) to the first step and the median of a step, and
leaves the student's weights by timm's names in `out`.
"""

import copy
import json
import logging
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

SIDE = 64
# lightly-train's batch where none is named.
_BATCH_OF_LIGHTLY_TRAIN = 128


class Pace:
    """When steps began."""

    def __init__(self, began: float) -> None:
        self._began, self._marks = began, list[float]()

    def mark(self) -> None:
        """A step begins."""
        self._marks.append(time.time())

    def found(self) -> dict[str, float]:
        """Seconds before the first step, and of a step after the first three."""
        steps = [after - before for before, after in pairwise(self._marks[3:])]
        return {"before": self._marks[0] - self._began, "pace": statistics.median(steps)} if steps else {}


def lightly_train(words: dict[str, Any], method: str, **more: Any) -> dict[str, Any]:
    """A method of lightly-train by its own automatic settings, for so many steps."""
    import lightly_train as peer
    from pytorch_lightning import Callback, Trainer

    pace = Pace(words["began"])

    class Marks(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            pace.mark()

    # The trainer takes callbacks of its own making alone.
    begin = Trainer.__init__

    def with_marks(self: Trainer, *args: Any, **kwargs: Any) -> None:
        kwargs["callbacks"] = [*(kwargs.get("callbacks") or []), Marks()]
        begin(self, *args, **kwargs)

    Trainer.__init__ = with_marks  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as scratch:
        peer.pretrain(
            out=scratch,
            data=words["folder"],
            model=f"timm/{words['student']}",
            method=method,
            # Its warm-up is a part of the epochs, so these are as many as the steps fill.
            epochs=math.ceil(words["steps"] / (words["images"] // _BATCH_OF_LIGHTLY_TRAIN)),
            num_workers=words["workers"],
            accelerator="cpu",
            devices=1,
            seed=words["seed"],
            overwrite=True,
            loggers={"tensorboard": None},
            trainer_args={"max_steps": words["steps"]},
            **more,
        )
        peer.export(
            out=words["out"],
            checkpoint=f"{scratch}/checkpoints/last.ckpt",
            part="model",
            format="package_default",
            overwrite=True,
        )
    return {"method": method, "given": more, **pace.found()}


def _student(words: dict[str, Any]) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(words["student"], num_classes=0)
    return network.to(memory_format=torch.channels_last)


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
    words: dict[str, Any],
    student: nn.Module,
    batches: Iterator[Any],
    step: Callable[[Any, int], Tensor],
    optimizer: Any,
    before_update: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Take the steps; `step` gives the loss of a batch."""
    pace = Pace(words["began"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(words["steps"], words.get("warmup", 0.0)))
    for number in range(words["steps"]):
        pace.mark()
        with torch.autocast("cpu", torch.bfloat16, enabled=words["bf16"]):
            loss = step(next(batches), number)
        optimizer.zero_grad()
        loss.backward()
        if words.get("clip"):
            nn.utils.clip_grad_norm_(student.parameters(), words["clip"])
        before_update(number)
        optimizer.step()
        schedule.step()
    torch.save(student.state_dict(), words["out"])
    return {"bf16": words["bf16"], **pace.found()}


def _rate(steps: int, warmup: float) -> Callable[[int], float]:
    """Factor of the rate: it rises over a part of the steps and falls to nothing by a cosine."""
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor


def _channels_last(views: Tensor) -> Tensor:
    return views.contiguous(memory_format=torch.channels_last)


def lightly_moco(words: dict[str, Any]) -> dict[str, Any]:
    """MoCo-v2 of lightly's parts: batches of 256, SGD at 0.06 with a cosine, a memory of 4,096, temperature 0.1."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import MoCoProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import MoCoV2Transform

    student = _student(words)
    head = MoCoProjectionHead(_width(student), 512, 128)
    slow, slow_head = copy.deepcopy(student), copy.deepcopy(head)
    deactivate_requires_grad(slow)
    deactivate_requires_grad(slow_head)
    loss = NTXentLoss(temperature=0.1, memory_bank_size=(4096, 128))
    both = [*student.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(both, lr=0.06, momentum=0.9, weight_decay=5e-4)

    def step(batch: Any, _: int) -> Tensor:
        update_momentum(student, slow, m=0.99)
        update_momentum(head, slow_head, m=0.99)
        queries = head(student(_channels_last(batch[0])).flatten(1))
        with torch.no_grad():
            keys = slow_head(slow(_channels_last(batch[1])).flatten(1))
        value: Tensor = loss(queries.float(), keys.float())
        return value

    batches = _batches(words, MoCoV2Transform(input_size=SIDE), 256)
    found = _loop(words, student, batches, step, optimizer)
    return {"batch_size": 256, "lr": 0.06, "memory": 4096, "temperature": 0.1, "view_size": SIDE} | found


def lightly_dino(words: dict[str, Any]) -> dict[str, Any]:
    """DINO of lightly's parts: batches of 64, Adam at 0.001, six local views of half the side.

    The first of ten epochs freezes the last layer, five warm the teacher's temperature up; a tenth of the steps is one.
    """
    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import DINOTransform
    from lightly.utils.scheduler import cosine_schedule

    student = _student(words)
    width = _width(student)
    head = DINOProjectionHead(width, 512, 64, 2048, freeze_last_layer=1)
    slow, slow_head = copy.deepcopy(student), DINOProjectionHead(width, 512, 64, 2048)
    deactivate_requires_grad(slow)
    deactivate_requires_grad(slow_head)
    loss = DINOLoss(output_dim=2048, warmup_teacher_temp_epochs=5)
    optimizer = torch.optim.Adam([*student.parameters(), *head.parameters()], lr=0.001)
    epoch = max(1, words["steps"] // 10)

    def step(batch: Any, number: int) -> Tensor:
        momentum = cosine_schedule(number, words["steps"], 0.996, 1)
        update_momentum(student, slow, m=momentum)
        update_momentum(head, slow_head, m=momentum)
        with torch.no_grad():
            targets = [slow_head(slow(_channels_last(view)).flatten(1)).float() for view in batch[:2]]
        said = [head(student(_channels_last(view)).flatten(1)).float() for view in batch]
        value: Tensor = loss(targets, said, epoch=number // epoch)
        return value

    def before_update(number: int) -> None:
        head.cancel_last_layer_gradients(current_epoch=number // epoch)

    batches = _batches(words, DINOTransform(global_crop_size=SIDE, local_crop_size=SIDE // 2), 64)
    found = _loop(words, student, batches, step, optimizer, before_update)
    return {"batch_size": 64, "lr": 0.001, "outputs": 2048, "view_size": SIDE} | found


def plain_distillation(words: dict[str, Any]) -> dict[str, Any]:
    """The cosine between a linear map of the student's features and those of the same teacher."""
    import timm
    from safetensors.torch import load_file
    from torchvision import transforms

    student = _student(words)
    start = torch.load(words["start"], weights_only=True)
    student.load_state_dict({name: start[name] for name in student.state_dict()})
    teacher = timm.create_model(words["teacher_architecture"], num_classes=0)
    weights = load_file(words["teacher"])
    teacher.load_state_dict({name: weights[name] for name in teacher.state_dict()})
    teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    head = nn.Linear(_width(student), teacher(torch.zeros(1, 3, SIDE, SIDE)).shape[-1])
    both = [*student.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(both, lr=words["lr"], weight_decay=0.04)

    def step(batch: Tensor, _: int) -> Tensor:
        # The bundled teacher sees its pictures enlarged, as it does for the other side.
        large = nn.functional.interpolate(batch, size=words["teacher_size"], mode="bicubic", antialias=True)
        with torch.no_grad():
            target = teacher(_channels_last(large))
        said = head(student(_channels_last(batch)))
        near = (normalize(said.float(), dim=-1) * normalize(target.float(), dim=-1)).sum(-1)
        return (1 - near).mean()

    view = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE, (0.4, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    found = _loop(words | {"warmup": 0.1, "clip": 1.0}, student, _batches(words, view, 64), step, optimizer)
    return {"batch_size": 64, "lr": words["lr"], "view_size": SIDE, "teacher_size": words["teacher_size"]} | found


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
    torch.set_num_threads(words["threads"])
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
