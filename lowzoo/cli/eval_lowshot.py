"""`lowzoo eval lowshot`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli import eval_options as options
from lowzoo.cli.source_options import reads_images

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions


@reads_images
def lowshot(
    model: options.Model,
    data: options.Data = None,
    protocol: Annotated[str, typer.Option(help="Whose settings: rob or msn.")] = "rob",
    shots: Annotated[str, typer.Option(metavar="K,K,...", help="Images of each class; a figure each.")] = "1,2,5",
    share: Annotated[float, typer.Option(metavar="F", help="Share of the images of each class; 0 for none.")] = 0.01,
    split_list: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Published list of training images, one name a line; may be repeated."),
    ] = None,
    splits: Annotated[int, typer.Option(min=1, metavar="N", help="Random splits a figure.")] = 3,
    train_split: options.TrainSplit = "train",
    test_split: options.TestSplit = None,
    image_size: options.ImageSize = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    bf16: options.Bf16 = False,
    random_init: options.RandomInit = False,
    seed: options.Seed = 0,
    out: options.Out = None,
    json_: options.Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Classify by a few labelled images of each class: L2 logistic regression on MODEL's frozen features.

    The penalty is chosen by cross-validation on those few images; mean and spread are over the splits.
    """
    from lowzoo.evaluate.logistic import require_scikit_learn

    require_scikit_learn()
    counts = [int(count) for count in options.numbers(shots, "--shots") or [] if count]
    output = options.begin(data, out, json_)

    from lowzoo.evaluate.few_labels import draw_tasks, evaluate_lowshot, logistic_settings

    settings = logistic_settings(protocol)
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
            draw_tasks(found, counts=counts, share=share or None, lists=split_list or (), splits=splits, seed=seed)
        ),
    )
    result = evaluate_lowshot(resolved, images, tasks, settings, preset=protocol, seed=seed, how=how)
    options.finish(result, output)
