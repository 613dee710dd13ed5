"""The rows of the table: a self-supervised teacher, and small networks with and without it; each row is one command.

The rows "supervised" are commands of `supervised.py`, all others of `lowzoo`.

Settings are the papers' but for what the size of data, images and machine asks for, which is the same for all rows of
a form and stands here. Rows that lowzoo has no command for are named in `MISSING` with the reason.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

LOWZOO = str(Path(sys.executable).with_name("lowzoo"))
STUDENTS = ("vit_tiny", "mobilenetv3_large", "mobilenetv2", "resnet18", "efficientnet_b0")
MISSING = {
    "rob_ibot": "which needs a teacher that iBOT trained, and lowzoo trains none",
}


RECIPES = dict.fromkeys(("dino", "moco", "sslight", "supervised"), "sslight") | {"seed": "seed"}
RECIPES |= dict.fromkeys(("rob", "rob_views", "rob_msn", "rob_bridge"), "rob")


@dataclass(frozen=True)
class Form:
    """The size of everything.

    Args:
        teacher: Its architecture.
        teacher_method: What trains it: dino, or moco, which got further in few steps.
        teacher_lr: Its learning rate.
        students: Which of them, and in which order.
        teacher_epochs: Epochs that the teacher is trained for.
        epochs: Epochs that every student is trained for.
        batch: Images in a step.
        size: Side of global views in pixels; the photographs have 64 and are enlarged.
        local: Side of local views.
        locals_: Their number.
        prototypes: Number of prototypes of the teacher's head, and so of what RoB fits.
        hidden: Width of the heads' hidden layers.
        queue: Length of SEED's queue.
        precision: Precision of all networks.
    """

    teacher: str
    teacher_method: str
    teacher_lr: float
    students: tuple[str, ...]
    teacher_epochs: int
    epochs: int
    batch: int
    size: int
    local: int
    locals_: int
    prototypes: int
    hidden: int
    queue: int
    precision: str


FORMS = {
    "gpu": Form(
        teacher="vit_small_patch16_224",
        teacher_method="dino",
        teacher_lr=1.1e-3,
        students=STUDENTS,
        teacher_epochs=200,
        epochs=100,
        batch=512,
        size=128,
        local=64,
        locals_=6,
        prototypes=8192,
        hidden=2048,
        queue=16_384,
        precision="bf16",
    ),
    "cpu": Form(
        teacher="resnet10t",
        teacher_method="moco",
        teacher_lr=1e-3,
        students=("vit_tiny", "mobilenetv3_large", "efficientnet_b0"),
        teacher_epochs=3,
        epochs=1,
        batch=32,
        size=64,
        local=32,
        locals_=2,
        prototypes=1024,
        hidden=512,
        queue=4096,
        precision="bf16",
    ),
    # Two steps of everything on the embedded sample set: whether the commands hold.
    "try": Form(
        teacher="resnet18",
        teacher_method="moco",
        teacher_lr=1e-3,
        students=("vit_tiny",),
        teacher_epochs=1,
        epochs=1,
        batch=512,
        size=32,
        local=32,
        locals_=1,
        prototypes=64,
        hidden=128,
        queue=512,
        precision="fp32",
    ),
}


def row_names(form: Form) -> list[str]:
    """Every row of a form, the teacher first."""
    rows = ["teacher"]
    for student in form.students:
        rows += [f"{method}-{student}" for method in ("supervised", "dino", "sslight", "seed", "rob")]
        if student == "vit_tiny":
            rows += [f"{method}-{student}" for method in ("rob_views", "rob_msn", "rob_bridge")]
    return rows


def chosen_rows(parser: argparse.ArgumentParser, words: argparse.Namespace) -> list[str]:
    """The rows that `--rows` names, or all of `--form`; ends the program where there is no such row."""
    known = row_names(FORMS[words.form])
    if unknown := set(words.rows or ()) - set(known):
        parser.error(f"unknown rows {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    return words.rows or known


def command_of(row: str, form: Form, work: str, seed: int) -> list[str]:
    """The words of `lowzoo`, or of `supervised.py`, that train a row; folders are under `work`."""
    method, _, student = row.partition("-")
    if row == "teacher":
        method, student = form.teacher_method, form.teacher
    recipe = RECIPES[method]
    words = ["train", recipe, "--student", student, "--out", f"{work}/{row}.{seed}", "--seed", str(seed)]
    words += ["--epochs", str(form.teacher_epochs if row == "teacher" else form.epochs)]
    words += ["--batch-size", str(form.batch), "--precision", form.precision]
    settings = [f"view.global.size={form.size}", "tensorboard=false", "checkpoint_steps=100"]
    settings += ["optimizer=adamw", "schedule=cosine", "update=step", "warmup=0.1"]
    settings += ["lr_batch=0", "lr_start=0", "lr_end=1e-6"]
    settings += ["weight_decay=0.04", "weight_decay_end=0.04", "clip_grad=1.0"]
    # Of the rates tried with RoB at a batch of 64, this one was the best; it grows with the root of the batch.
    rate = form.teacher_lr if row == "teacher" else 4e-4 * (form.batch / 64) ** 0.5
    settings.append(f"lr={rate:.3g}")
    local = [f"view.local.size={form.local}", f"view.local.count={form.locals_}"]
    if recipe == "sslight":
        words += ["--method", "moco" if method == "moco" else "dino"]
        words += ["--preset", "sslight" if method == "sslight" else "baseline"]
        settings += [f"student_head.hidden={form.hidden}", "sync_bn=false", "decay_rule=one_d"]
        settings += [*local, "ema=0.99"]
        if method == "moco":
            return [*words, *_set([*settings, f"queue={form.queue}"])]
        settings += [f"prototypes={form.prototypes}", "teacher_temperature=0.04"]
        return [*words, *_set(settings)]
    words += ["--teacher", f"{work}/teacher.0", "--teacher-cache", f"{work}/cache-{seed}-{method}"]
    if recipe == "seed":
        return [*words, *_set([*settings, f"queue={form.queue}"])]
    layers = {"rob_msn": "rob_msn", "rob_bridge": "rob_swav_bridge"}.get(method, "rob_dino")
    words += ["--preset", layers]
    if method == "rob_views":
        words += ["--views", "sslight"]
    settings += [*local, f"student_head.hidden={form.hidden}", "patch_drop=0", "drop_path=0", "positions=timm"]
    if form.teacher_method == "moco":
        # It has no prototypes of its own.
        settings += ["teacher_head=fitted", f"prototypes={form.prototypes}"]
        settings.append(f"teacher_prototypes={'true' if layers == 'rob_dino' else 'false'}")
    return [*words, *_set(settings)]


def _set(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]
