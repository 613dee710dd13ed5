"""`lowzoo train`: make new weights; one sub-command a recipe."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, help="Train a student without labels.")


@app.callback()
def _train() -> None:
    """Train a student without labels; choose a recipe."""


@app.command()
def rob(
    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="Folder of images or parquet; the embedded sample set if absent.")
    ] = None,
    student: Annotated[str | None, typer.Option(help="Student: vit_tiny, resnet18, ... or any timm name.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Teacher: a name of the catalog, a run folder, or any timm name.")
    ] = None,
    teacher_head: Annotated[
        str | None, typer.Option(help="'own', or 'fitted' for a teacher without one (an extension of the paper).")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="Member of the family: dino or msn.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or auto (bf16 on an accelerator).")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/rob-STUDENT if absent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the run folder.")] = False,
    preset: Annotated[
        str | None,
        typer.Option(help="rob_dino or rob_msn (the paper's), sample (the default without --data), tin100."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of the settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. student_head.hidden=512.")
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the facts of the finished run as one JSON document.")
    ] = False,
) -> None:
    """Fit a small student to a frozen teacher's prototype distribution (RoB, arXiv 2301.09451).

    With no option at all it trains on the embedded sample set in about two minutes. The paper's settings of each loss
    are the presets rob_dino and rob_msn; a later source wins: preset, --config, options, --set.
    """
    import json

    from lowzoo.train.command import run_rob

    options = {
        "student": student,
        "teacher": teacher,
        "teacher_head": teacher_head,
        "loss": loss,
        "epochs": epochs,
        "batch_size": batch_size,
        "precision": precision,
        "device": device,
        "seed": seed,
    }
    say = (lambda text: typer.echo(text, err=True)) if json_ else typer.echo
    result = run_rob(
        data=data, preset=preset, config=config, options=options, settings=set_ or [], out=out, resume=resume, say=say
    )
    if json_:
        typer.echo(json.dumps(result.facts))
