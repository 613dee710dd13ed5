"""The rows of the table: a self-supervised teacher, and small networks with and without it; each row is one command.

Settings are the papers' but for what the size of data, images and machine asks for, which is the same for all rows of
a form and stands here. Rows that lowzoo has no command for are named in `MISSING` with the reason.
"""

from dataclasses import dataclass

STUDENTS = ("vit_tiny", "mobilenetv3_large", "mobilenetv2", "resnet18", "efficientnet_b0")
MISSING = {
    "supervised": "lowzoo trains without labels; supervised training from scratch has no command",
    "rob_ibot": "needs a teacher that iBOT trained, and lowzoo trains none",
}


@dataclass(frozen=True)
class Form:
    """The size of everything.

    Args:
        teacher: Its architecture.
        students: Which of them, and in which order.
        teacher_epochs: Of the teacher.
        epochs: Of every student.
        batch: Images in a step.
        size: Side of global views in pixels; the photographs have 64 and are enlarged.
        local: Side of local views.
        locals_: Their number.
        prototypes: Of the teacher's head, and so of what RoB fits.
        queue: Of SEED.
        precision: Of all networks.
    """

    teacher: str
    students: tuple[str, ...]
    teacher_epochs: int
    epochs: int
    batch: int
    size: int
    local: int
    locals_: int
    prototypes: int
    queue: int
    precision: str


FORMS = {
    "gpu": Form("vit_small_patch16_224", STUDENTS, 200, 100, 512, 128, 64, 6, 8192, 16_384, "bf16"),
    "cpu": Form("resnet18", ("vit_tiny", "mobilenetv3_large"), 10, 5, 64, 64, 32, 2, 1024, 4096, "bf16"),
    # Two steps of everything on the embedded sample set: whether the commands hold.
    "try": Form("resnet18", ("vit_tiny",), 1, 1, 512, 32, 32, 1, 64, 512, "fp32"),
}


def row_names(form: Form) -> list[str]:
    """Every row of a form, the teacher first."""
    rows = ["teacher"]
    for student in form.students:
        rows += [f"{method}-{student}" for method in ("dino", "sslight", "seed", "rob")]
        if student == "vit_tiny":
            rows += [f"{method}-{student}" for method in ("rob_views", "rob_msn", "rob_bridge")]
    return rows


def command_of(row: str, form: Form, work: str, seed: int) -> list[str]:
    """The words of `lowzoo` that train a row; folders are under `work`."""
    method, _, student = row.partition("-")
    if row == "teacher":
        method, student = "dino", form.teacher
    recipe = {"dino": "sslight", "sslight": "sslight", "seed": "seed"}.get(method, "rob")
    words = ["train", recipe, "--student", student, "--out", f"{work}/{row}.{seed}", "--seed", str(seed)]
    words += ["--epochs", str(form.teacher_epochs if row == "teacher" else form.epochs)]
    words += ["--batch-size", str(form.batch), "--precision", form.precision]
    settings = [f"view.global.size={form.size}", "tensorboard=false", "checkpoint_steps=100"]
    settings += ["optimizer=adamw", "lr_batch=0", "lr_end=1e-6", "warmup=0.1", "schedule=cosine", "update=step"]
    settings += ["weight_decay=0.04", "weight_decay_end=0.04", "clip_grad=1.0"]
    # Of the rates tried with RoB at a batch of 64, this one was the best; it grows with the root of the batch.
    settings.append(f"lr={4e-4 * (form.batch / 64) ** 0.5:.3g}")
    if recipe != "seed":
        settings += [f"view.local.size={form.local}", f"view.local.count={form.locals_}"]
    if recipe == "sslight":
        words += ["--method", "dino", "--preset", "sslight" if method == "sslight" else "baseline"]
        settings += [f"prototypes={form.prototypes}", "sync_bn=false", "decay_rule=one_d", "lr_start=0"]
        settings += ["teacher_temperature=0.04", "ema=0.99"]
        return [*words, *_set(settings)]
    words += ["--teacher", f"{work}/teacher.0", "--teacher-cache", f"{work}/cache-{seed}-{method}"]
    if recipe == "seed":
        return [*words, *_set([*settings, f"queue={form.queue}"])]
    layers = {"rob_msn": "rob_msn", "rob_bridge": "rob_swav_bridge"}.get(method, "rob_dino")
    words += ["--preset", layers]
    if method == "rob_views":
        words += ["--views", "sslight"]
    settings += ["patch_drop=0", "drop_path=0", "positions=timm"]
    return [*words, *_set(settings)]


def _set(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]
