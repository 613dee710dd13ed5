"""`lowzoo train`: make new weights; one sub-command a recipe."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowzoo.cli.source_options import reads_images
from lowzoo.early import refuse_early, refuse_early_checkpoint

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions

app = typer.Typer(rich_markup_mode=None, help="Train a student without labels.")

Data = Annotated[
    str | None,
    typer.Option(
        metavar="SRC", help="Folder of images, parquet, tar shards or hf:ORG/NAME; the embedded sample set if absent."
    ),
]
Student = Annotated[str | None, typer.Option(help="Student: vit_tiny, resnet18, ... or any timm name.")]
Init = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        callback=refuse_early,
        help="Start the student from these weights: zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model "
        "folder, timm name, or ARCH@FILE for a checkpoint. Without --student it is the student's architecture too.",
    ),
]
Teacher = Annotated[
    str | None,
    typer.Option(
        help="Teacher: a name of `lowzoo teachers`, a run folder, timm name, or ARCH@FILE[#BRANCH] (a checkpoint).",
        callback=refuse_early_checkpoint,
    ),
]
TeacherHead = Annotated[
    str | None, typer.Option(help="'own', or 'fitted' for a teacher without one (an extension of the papers).")
]
TeacherCache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep what the teacher said of each view, for this run and others.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Length of the run in steps, instead of epochs.")]
Minutes = Annotated[
    float | None,
    typer.Option(
        help="Length of the run by the clock, loading and monitors included: its schedule is laid over the steps that "
        "fit. The default where neither a length nor a preset is named, by the number of images."
    ),
]
BatchSize = Annotated[int | None, typer.Option(help="Images in a step, over all devices.")]
Devices = Annotated[int, typer.Option(min=1, help="Processes on this machine, one a device; or start with torchrun.")]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or auto (bf16 on an accelerator).")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")]
Seed = Annotated[int | None, typer.Option(help="Of every random choice.")]
Out = Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE-STUDENT if absent.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run in the run folder. Learning rate, precision, temperatures and weights of losses may "
        "change on the way (--set lr=...), and so may --epochs: the schedule is then that of the new length, entered "
        "over a tenth of the steps that are left.",
    ),
]
From = Annotated[
    int | None,
    typer.Option(
        "--from",
        metavar="STEP",
        min=0,
        help="Go on from an earlier checkpoint and give up what came after; 0 starts the run again. Implies --resume; "
        "keep_checkpoints (4) are kept, one an epoch and then evenly spread.",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="tensorboard (the default), wandb, mlflow or none; may be repeated. Under torchrun, which takes --log for "
        "its own, write --set log=NAME.",
    ),
]
Bench = Annotated[
    bool, typer.Option("--bench", help="Time some steps, say what bounds them, and leave without training.")
]
Config = Annotated[Path | None, typer.Option(help="TOML file with any of the settings.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. student_head.hidden=512.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the facts of the finished run as one JSON document.")]


@app.callback()
def _train() -> None:
    """Train a student without labels; choose a recipe."""


@app.command()
@reads_images
def rob(
    data: Data = None,
    student: Student = None,
    init: Init = None,
    teacher: Teacher = None,
    teacher_head: TeacherHead = None,
    teacher_cache: TeacherCache = None,
    loss: Annotated[
        str | None, typer.Option(help="Member of the family: dino, swav, ibot or msn; kd is supervised distillation.")
    ] = None,
    views: Annotated[
        str | None,
        typer.Option(help="'sslight': the softer views and pair weights of that recipe."),
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch_size: BatchSize = None,
    devices: Devices = 1,
    precision: Precision = None,
    device: Device = None,
    seed: Seed = None,
    out: Out = None,
    resume: Resume = False,
    from_: From = None,
    log: Log = None,
    bench: Bench = False,
    preset: Annotated[
        str | None,
        typer.Option(help="rob_dino, rob_swav, ... (the paper's), sample, tin100; by data and budget if absent."),
    ] = None,
    config: Config = None,
    set_: Settings = None,
    json_: Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Fit a small student to a frozen teacher's prototype distribution (RoB, arXiv 2301.09451).

    With no option at all it trains on the embedded sample set for three minutes. Settings follow from images, device
    and budget (--minutes, --steps or --epochs) where no preset is named. The paper's settings of each loss are the
    presets rob_dino, rob_swav, rob_swav_bridge, rob_ibot and rob_msn; a later source wins: preset, --config, options,
    --set.
    """
    options = _options(locals(), "student", "init", "teacher", "teacher_head", "loss")
    _run("rob", options, {"loss": loss, "views": views}, locals())


@app.command()
@reads_images
def seed(
    data: Data = None,
    student: Student = None,
    init: Init = None,
    teacher: Teacher = None,
    teacher_head: TeacherHead = None,
    teacher_cache: TeacherCache = None,
    epochs: Epochs = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch_size: BatchSize = None,
    devices: Devices = 1,
    precision: Precision = None,
    device: Device = None,
    seed: Seed = None,
    out: Out = None,
    resume: Resume = False,
    from_: From = None,
    log: Log = None,
    bench: Bench = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="seed, seed_released, seed_simclr, seed_small_patch, sample_seed; by data and budget if absent."
        ),
    ] = None,
    config: Config = None,
    set_: Settings = None,
    json_: Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Let a small student reproduce a frozen teacher's similarities to past images (SEED, arXiv 2101.04731).

    With no option at all it trains on the embedded sample set for three minutes. Settings follow from images, device
    and budget where no preset is named; --preset seed is the paper's. Local views in the settings turn on the
    small-patch extension (preset seed_small_patch). A later source wins: preset, --config, options, --set.
    """
    options = _options(locals(), "student", "init", "teacher", "teacher_head")
    _run("seed", options, {}, locals())


@app.command()
@reads_images
def sslight(
    data: Data = None,
    student: Student = None,
    init: Init = None,
    method: Annotated[
        str | None, typer.Option(help="dino, swav or moco; moco if absent, and dino in the paper's presets.")
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch_size: BatchSize = None,
    devices: Devices = 1,
    precision: Precision = None,
    device: Device = None,
    seed: Seed = None,
    out: Out = None,
    resume: Resume = False,
    from_: From = None,
    log: Log = None,
    bench: Bench = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="sslight or baseline (ordinary views and weights): the paper's; by data and budget if absent."
        ),
    ] = None,
    config: Config = None,
    set_: Settings = None,
    json_: Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Train a small network without any teacher, by softer views (SSLight, arXiv 2210.02808).

    The two presets differ in four settings: scales of global and local views, size of local views, weights of the
    pairs. With no option at all it trains on the embedded sample set for three minutes, by MoCo-v2 with softer views;
    settings follow from images, device and budget where no preset is named. A later source wins: preset, --config,
    options, --set.
    """
    options = _options(locals(), "student", "init", "method")
    _run("sslight", options, {"method": method, "student": student}, locals())


def _options(words: dict[str, Any], *own: str) -> dict[str, Any]:
    shared = ("epochs", "steps", "minutes", "batch_size", "precision", "device", "seed")
    # typer gives an empty list where an option that may be repeated is absent.
    return {"log": words["log"] or None, **{key: words[key] for key in (*own, *shared)}}


def _run(recipe: str, options: dict[str, Any], choice: dict[str, str | None], words: dict[str, Any]) -> None:
    began = time.monotonic()  # before the heavy imports, which a budget of minutes includes
    import json
    from functools import partial

    from lowzoo.train.command import TrainWords, default_layers, run_training

    layers = default_layers(recipe, data=words["data"], preset=words["preset"], **choice)
    command = TrainWords(
        recipe,
        layers,
        data=words["data"],
        reading=words["reading"],
        config=words["config"],
        options=options,
        settings=tuple(words["set_"] or ()),
        out=words["out"],
        resume=words["resume"] or words["from_"] is not None,
        from_step=words["from_"],
        preset_named=words["preset"] is not None or words.get("views") is not None,
        teacher_cache=words.get("teacher_cache"),
        devices=words["devices"],
    )
    say = partial(typer.echo, err=True) if words["json_"] else typer.echo
    if words["bench"]:
        from lowzoo.train.bench import run_bench

        report = run_bench(command, say)
        if words["json_"]:
            typer.echo(json.dumps(report))
        return
    facts = run_training(command, say, began)
    if words["json_"] and facts:
        typer.echo(json.dumps(facts))
