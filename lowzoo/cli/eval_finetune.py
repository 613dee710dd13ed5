"""`lowzoo eval finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli import eval_options as options
from lowzoo.cli.source_options import reads_images

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions


@reads_images
def finetune(
    model: options.Model,
    data: options.Data = None,
    protocol: Annotated[str, typer.Option(help="Whose settings: sslight, swav or seed (SwAV's).")] = "sslight",
    share: Annotated[float, typer.Option(metavar="F", help="Share of the labels of each class, 0 to 1.")] = 0.01,
    split_list: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Published list of training images, one name a line; may be repeated."),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Projection head; the model's own if absent and there is one."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of the protocol's; milestones move along.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Instead of the protocol's; rates are scaled with it.")
    ] = None,
    train_split: options.TrainSplit = "train",
    test_split: options.TestSplit = None,
    image_size: options.ImageSize = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    bf16: options.Bf16 = False,
    random_init: options.RandomInit = False,
    repeats: options.Repeats = 1,
    seed: options.Seed = 0,
    confusion: options.Confusion = None,
    out: options.Out = None,
    json_: options.Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Fine-tune all of MODEL on a share of the labels.

    SSLight's classifier is an MLP that starts from the projection head of the training; without one it starts at
    random, and the result says so.
    """
    output = options.begin(data, out, json_, confusion)

    from lowzoo.evaluate.few_labels import draw_tasks
    from lowzoo.evaluate.finetuning import evaluate_finetune, finetune_settings

    settings = finetune_settings(protocol, share, epochs=epochs, batch_size=batch_size)
    tasks = []
    resolved, images, how = options.open_all(
        model,
        data,
        (train_split, test_split),
        reading=reading,
        json=json_,
        image_size=image_size,
        device=device,
        workers=workers,
        bf16=bf16,
        random_init=random_init,
        check=lambda found: tasks.extend(
            draw_tasks(found, counts=(), share=share, lists=split_list or (), splits=repeats, seed=seed)
        ),
    )
    scored = evaluate_finetune(
        resolved,
        images,
        tasks[0].splits,
        settings,
        preset=protocol,
        projection=(head or _own_head(model)) if settings.head == "mlp" else None,
        seed=seed,
        how=how,
    )
    options.draw_confusion(scored, images, output)
    options.finish(scored.result, output)


def _own_head(model: str) -> Path | None:
    """The projection head in a run folder, or that which came with a zoo model."""
    from lowzoo import catalog
    from lowzoo.errors import LowzooError

    in_folder = Path(model) / "head.safetensors"
    if in_folder.is_file():
        return in_folder
    try:
        return catalog.find(model)[1].head_path
    except LowzooError:
        return None
