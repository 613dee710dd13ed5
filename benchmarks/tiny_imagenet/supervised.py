"""The rows "supervised": a student with a linear classifier, trained from scratch with the labels of its images.

    python benchmarks/tiny_imagenet/supervised.py --student vit_tiny --out DIR [--data DIR] [--form gpu] [--seed 0]

lowzoo has no command for this, as it trains without labels; `run.py` calls this script. Loader, colours, crops of the
large views, batch, epochs, optimiser and rates are those of the other rows; an image has one view in a step, where they
have several. Goes on from the last finished epoch of the folder, and leaves in it what `lowzoo eval` needs.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import timm
import torch
from rows import FORMS, Form, rate_of
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowzoo.catalog import student_architecture
from lowzoo.data.source import ImageSource, open_source
from lowzoo.evaluate.device import pick_device
from lowzoo.files import atomic_path, write_text
from lowzoo.train.batches import EpochBatches
from lowzoo.train.dataset import ViewDataset, make_loader
from lowzoo.train.encoder import feature_width
from lowzoo.train.machine import default_workers, device_name, keep_freed_memory, versions
from lowzoo.train.progress import track
from lowzoo.train.run_folder import save_student
from lowzoo.train.schedules import progress, warmup_cosine
from lowzoo.train.views import ViewGroup, photometric

WARM_UP, LAST_RATE, DECAY, CLIP = 0.1, 1e-6, 0.04, 1.0
# The scale is that of SSLight's baseline for large views.
SCALE = (0.25, 1.0)


class Training:
    """A run from the last finished epoch on."""

    def __init__(self, words: argparse.Namespace, form: Form, source: ImageSource) -> None:
        self.form, self.source, self.folder, self.seed = form, source, words.out, words.seed
        self.device = pick_device(words.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.manual_seed(words.seed)
        self.architecture = student_architecture(words.student, "rob")
        labels = torch.from_numpy(source.require_labels())
        size = {"img_size": form.size} if timm.get_pretrained_cfg(self.architecture).fixed_input_size else {}
        network = timm.create_model(self.architecture, num_classes=int(labels.max()) + 1, **size)
        self.network: Any = network.to(self.device, memory_format=torch.channels_last).train()
        self.labels = labels.to(self.device)
        matrices = [weight for weight in network.parameters() if weight.dim() > 1]
        others = [weight for weight in network.parameters() if weight.dim() <= 1]
        groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
        self.epoch = 0
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch = state["epoch"]

    @property
    def checkpoint(self) -> Path:
        """What is kept of the last finished epoch."""
        return Path(self.folder) / "checkpoint.pt"

    def run(self) -> None:
        """Train to the end."""
        form, started, first = self.form, time.perf_counter(), self.epoch
        per_epoch = len(self.source) // form.batch
        batches = EpochBatches(len(self.source), form.batch, form.epochs, self.seed, first * per_epoch)
        where = progress(form.epochs, per_epoch, "step")
        rates = warmup_cosine(where, start=0, peak=rate_of(form), end=LAST_RATE, warmup=WARM_UP)
        groups = [ViewGroup(name="global", count=1, size=form.size, scale=SCALE, blur=(0.5,))]
        workers = default_workers(self.device)
        loader = make_loader(
            ViewDataset(self.source, groups, self.seed), batches, workers=workers, pin=self.device.type == "cuda"
        )
        last = per_epoch * form.epochs - 1
        steps = range(first * per_epoch, last + 1)
        for step, batch in zip(track(steps, "supervised"), loader, strict=True):
            for group in self.optimizer.param_groups:
                group["lr"] = float(rates[step])
            loss = self.step(batch.crops[0][:, 0], batch.photometric[:, 0], batch.indices)
            if (step + 1) % per_epoch == 0:
                self.save((step + 1) // per_epoch)
        self.finish(
            float(loss), round((form.epochs - first) * per_epoch * form.batch / (time.perf_counter() - started), 1)
        )

    def step(self, crops_B3SS: Tensor, params_BP: Tensor, indices_B: Tensor) -> Tensor:
        """One update; gives the loss in nats."""
        views = photometric(crops_B3SS.to(self.device, non_blocking=True), params_BP)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.form.precision == "bf16"):
            scores = self.network(views.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(scores.float(), self.labels[indices_B.to(self.device)])
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        return loss.detach()

    def save(self, epoch: int) -> None:
        """Keep an epoch's end."""
        self.epoch = epoch
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": epoch}
        with atomic_path(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def finish(self, loss: float, images_per_s: float) -> None:
        """Leave a folder that `lowzoo eval` reads."""
        self.network.reset_classifier(0)
        width = feature_width(self.network, self.form.size)
        save_student(Path(self.folder), self.network, self.architecture, self.form.size, width)
        facts = {"method": "supervised, from scratch", "architecture": self.architecture, "size": self.form.size}
        facts |= {"data": {"name": self.source.name, "images": len(self.source)}, "epochs": self.form.epochs}
        facts |= {"precision": self.form.precision, "device": device_name(self.device), "images_per_s": images_per_s}
        facts |= {"result": {"loss": loss}, "versions": versions()}
        write_text(Path(self.folder) / "run.json", json.dumps(facts, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", help="labelled images; the embedded sample set if absent")
    parser.add_argument("--form", choices=FORMS, default="gpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    Training(words, FORMS[words.form], open_source(words.data)).run()


if __name__ == "__main__":
    main()
