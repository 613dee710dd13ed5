"""What every protocol does before and after its own part: places are tried, images and network opened, results kept.

Several processes, as `torchrun` starts them, make one evaluation together where that is asked for: each of them
computes features of a part of the images, and the first one prints and writes.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lowzoo.base.progress import Say
from lowzoo.data.reading.options import SourceOptions
from lowzoo.evaluate.evaluation import Evaluation, found_lines
from lowzoo.evaluate.knn_protocol import TrainTestData, open_train_test
from lowzoo.evaluate.result import EvaluationResult, Scored
from lowzoo.features.extraction import Extraction
from lowzoo.io.files import writable_folder, write_text
from lowzoo.preprocess.input_facts import Side
from lowzoo.system.device import pick_device
from lowzoo.system.processes import ALONE, join, joined, own_device, started_first
from lowzoo.zoo.given import resolved_model
from lowzoo.zoo.resolve import Resolved


@dataclass(frozen=True)
class Run:
    """An evaluation that has begun.

    Args:
        say: Takes lines.
        out: Where the document goes.
        confusion: Where the picture of confusions goes.
        began: When, by `time.monotonic`.
        divide: Whether all processes that were started make it together.
    """

    say: Say
    out: Path | None
    confusion: Path | None
    began: float
    divide: bool = False

    def open(
        self,
        model: Any,
        data: Any,
        splits: tuple[str, str | None],
        *,
        reading: SourceOptions,
        image_size: Side | None,
        device: str,
        workers: int,
        bf16: bool,
        random_init: bool,
        seed: int = 0,
        check: Callable[[TrainTestData], object] | None = None,
    ) -> tuple[Resolved, TrainTestData, Extraction]:
        """Open the images and say what was found, let `check` refuse them, then open the network."""
        images = open_train_test(data, *splits, reading)
        if data is not None:
            for line in found_lines(images.bank, images.queries):
                self.say(line)
        if check is not None:
            check(images)
        place = pick_device(device)
        resolved = resolved_model(model, image_size=image_size, pretrained=not random_init, seed=seed)
        return resolved, images, extraction(place, workers, bf16, self.divide)

    def finish(self, found: Scored | EvaluationResult, images: TrainTestData | None = None) -> Evaluation:
        """Draw and write what is wanted.

        Args:
            found: What the protocol gives.
            images: Whose class names the picture takes.
        """
        scored = found if isinstance(found, Scored) else None
        result = found.result if isinstance(found, Scored) else found
        timed = result.model_copy(update={"seconds": round(time.monotonic() - self.began, 1)})
        names = images.bank.class_names if images is not None else None
        evaluation = Evaluation(timed, (), scored, names)
        if self.divide and not started_first():
            return evaluation
        if self.confusion is not None:
            evaluation.draw_confusion(self.confusion)
        if self.out is not None:
            write_text(self.out, evaluation.to_json())
        written = tuple(path for path in (self.confusion, self.out) if path is not None)
        return dataclasses.replace(evaluation, written=written)


def begin(
    data: Any,
    say: Say,
    *,
    divide: bool = False,
    out: str | Path | None = None,
    confusion: str | Path | None = None,
) -> Run:
    """Say which images are used, and refuse places that cannot be written to before anything is computed.

    Raises:
        LowzooError: A place cannot be written to.
    """
    say = _silent if divide and not started_first() else say
    say(f"Data: {data_words(data)}")
    document, picture = (None if path is None else Path(path) for path in (out, confusion))
    for path in (document, picture):
        if path is not None:
            writable_folder(path.parent)
    return Run(say, document, picture, time.monotonic(), divide)


def data_words(data: Any) -> str:
    """Which images: the word, or what stands for those that a program holds."""
    if data is None:
        return "the sample set embedded in lowzoo (drawings; name photographs with --data)"
    if isinstance(data, (str, Path)):
        return str(data)
    if isinstance(data, TrainTestData):
        return f"{data.bank.name} and {data.queries.name}"
    return getattr(data, "name", "given images")


def extraction(device: torch.device, workers: int, bf16: bool, divide: bool) -> Extraction:
    """How features are computed: by this process, or divided among all that were started."""
    if divide:
        join(device)
    among = joined() if divide else ALONE
    return Extraction(
        device=own_device(device),
        workers=workers,
        precision="bf16" if bf16 else "fp32",
        progress=among.is_main,
        among=among,
    )


def _silent(_: str) -> None:
    """Only the first process prints."""
