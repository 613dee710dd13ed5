"""The rows "supervised": a student and a linear classifier, trained from scratch with the labels of its images.

    python benchmarks/tiny_imagenet/supervised.py --student vit_tiny --out DIR [--data DIR] [options of `lowzoo train`]

lowzoo has no command for this, as it trains without labels; `run.py` calls this script with the words of the student's
DINO row. Loop, views, batch, epochs, optimiser and rates are those of that row; what differs is the loss, the mean
cross-entropy of all views with the label, and that no second network follows the first.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowzoo.data.source import open_source, split_names
from lowzoo.train.command import TrainArgs, default_layers, resolve_args
from lowzoo.train.kernels.precision import full
from lowzoo.train.monitoring.progress import Progress
from lowzoo.train.networks.encoder import MultiViewEncoder, feature_width
from lowzoo.train.networks.step import Method, StepContext, Views
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs.folder import read_config
from lowzoo.train.runs.loop import Run
from lowzoo.train.settings.changes import changed_keys
from lowzoo.train.teacher_cache.frozen import FrozenTeacher


class Supervised(Method):
    """Cross-entropy of every view with its image's label.

    Args:
        student: Encoder whose head is a classifier.
        labels: (N,) of all images of the source.
    """

    def __init__(self, student: MultiViewEncoder, labels: Tensor) -> None:
        super().__init__(student)
        self.register_buffer("labels", labels, persistent=False)

    def loss(self, views: Views, now: StepContext) -> Tensor:
        """Mean over views and images."""
        logits_VBC = full(self.encode(views.groups, None, now).scores)
        labels_B = self.get_buffer("labels")[views.indices.to(logits_VBC.device)]
        return cross_entropy(logits_VBC.flatten(0, 1), labels_B.repeat(len(logits_VBC)))


def build(
    labels: Tensor,
    config: TrainConfig,
    backbone: nn.Module,
    _teacher: FrozenTeacher | None,
    device: torch.device,
    *,
    processes: int = 1,
) -> Method:
    """What `lowzoo.train.methods.build_method` is for recipes."""
    if processes > 1:
        raise SystemExit("supervised rows train in one process")
    torch.manual_seed(config.seed + 1)
    head = config.student_head.build(feature_width(backbone, config.global_size), int(labels.max()) + 1)
    student = MultiViewEncoder(backbone, head).to(memory_format=torch.channels_last)
    return Supervised(student, labels).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("student", "method", "preset", "precision", "device", "data"):
        parser.add_argument(f"--{option}")
    for option in ("seed", "epochs", "batch-size"):
        parser.add_argument(f"--{option}", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    layers = default_layers("sslight", data=given.data, preset=given.preset, method=given.method, student=given.student)
    names = ("student", "method", "epochs", "batch_size", "precision", "device", "seed")
    options = {name: getattr(given, name) for name in names}
    settings = (*given.set, "student_head.kind=linear")
    config = resolve_args(TrainArgs("sslight", layers, given.data, options=options, settings=settings))
    if given.resume and (changed := changed_keys(read_config(given.out), config)):
        parser.error(f"the run in {given.out} has other values of {', '.join(changed)}")
    source = open_source(given.data)
    held_out = open_source(given.data, "validation") if "validation" in split_names(given.data) else None
    labels = torch.from_numpy(source.require_labels())
    run = Run(config, source, held_out, given.out, resume=given.resume, say=print, build=partial(build, labels))
    run.train(Progress())
    facts = json.loads((given.out / "run.json").read_text()) | {"recipe": None, "method": "supervised, from scratch"}
    (given.out / "run.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
