"""`lowzoo eval transfer`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli import eval_options as options
from lowzoo.cli.source_options import reads_images, say_found
from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions


@reads_images
def transfer(
    model: options.Model,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the data sets as their owners distribute them.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="inaturalist18, cifar100, clevr_count, clevr_dist or places205; may be repeated."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All five: the RoB table for one model.")] = False,
    data: Annotated[
        str | None, typer.Option(metavar="SRC", help="One task's images from elsewhere, such as hf:NAME.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of each task's; milestones move along.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Instead of 256; rates are scaled with it.")
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--cached", help="As published, or features that are computed once.")
    ] = None,
    image_size: options.ImageSize = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    bf16: options.Bf16 = False,
    random_init: options.RandomInit = False,
    repeats: options.Repeats = 1,
    seed: options.Seed = 0,
    out: options.Out = None,
    json_: options.Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Train linear probes on MODEL's frozen features for other tasks, by RoB's table."""
    from lowzoo.evaluate.device import pick_device
    from lowzoo.evaluate.extraction import Extraction
    from lowzoo.evaluate.probe_settings import adapted
    from lowzoo.evaluate.transfer_tasks import TASKS, chosen_tasks, evaluate_transfer, open_task, transfer_settings
    from lowzoo.resolve import load_model

    names = chosen_tasks(task or (), every=every)
    if data is not None and len(names) > 1:
        raise LowzooError(f"--data {data} holds one task's images, not those of {len(names)}", "Name one --task")
    output = options.begin(data or str(root), out, json_)
    images = {name: open_task(name, root, data, reading) for name in names}
    say_found(*(part for found in images.values() for part in (found.bank, found.queries)), json=json_)
    place = pick_device(device)
    resolved = load_model(model, image_size=options.sides(image_size), pretrained=not random_init, seed=seed)
    settings = {
        name: adapted(
            transfer_settings(TASKS[name], resolved.model), epochs=epochs, batch_size=batch_size, augment=augment
        )
        for name in names
    }
    how = Extraction(device=place, workers=workers, precision="bf16" if bf16 else "fp32")
    result = evaluate_transfer(resolved, images, settings, repeats=repeats, seed=seed, how=how)
    options.finish(result, output)
