"""`lowzoo eval linear`."""

from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.cli import eval_options as options
from lowzoo.cli.source_options import reads_images

if TYPE_CHECKING:
    from lowzoo.data.options import SourceOptions

_SEEDS = 3


@reads_images
def linear(
    model: options.Model,
    data: options.Data = None,
    protocol: Annotated[
        str,
        typer.Option(help="Whose settings: sweep (ours, cached features), rob, seed, sslight, dino or msn."),
    ] = "sweep",
    features: Annotated[
        str | None,
        typer.Option(metavar="F,F,...", help="own, cls, cls4, pooled, pool2x1, pool2x2; several are candidates."),
    ] = None,
    lr: Annotated[str | None, typer.Option(metavar="LR,LR,...", help="Peak rates; several are candidates.")] = None,
    weight_decay: Annotated[str | None, typer.Option(metavar="WD,WD,...", help="Several are candidates.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of the protocol's; milestones move along.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Instead of the protocol's; rates are scaled with it.")
    ] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment/--cached", help="Random crops, or features that are computed once.")
    ] = None,
    train_split: options.TrainSplit = "train",
    test_split: options.TestSplit = None,
    image_size: options.ImageSize = None,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    bf16: options.Bf16 = False,
    random_init: options.RandomInit = False,
    repeats: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=f"Seeds of probes that are trained; {_SEEDS} unless given.")
    ] = None,
    seed: options.Seed = 0,
    confusion: options.Confusion = None,
    out: options.Out = None,
    json_: options.Json = False,
    *,
    reading: "SourceOptions",
) -> None:
    """Train a linear classifier on MODEL's frozen features.

    By `sweep` the probes are solved for, as scikit-learn's logistic regression is; which features and which penalty
    are best is cross-validated on the training images, and the seed only deals these out. By a paper's protocol, and
    with --lr, --epochs, --batch-size or --augment, they are trained by SGD: candidates together on nine tenths of the
    training images, the best on the tenth again on all of them, once for each seed. The test images decide nothing.
    """
    output = options.begin(data, out, json_, confusion)
    rates, decays = options.numbers(lr, "--lr"), options.numbers(weight_decay, "--weight-decay")

    from lowzoo.errors import LowzooError
    from lowzoo.evaluate.linear_probe import evaluate_linear
    from lowzoo.evaluate.probe_settings import adapted, probe_settings
    from lowzoo.evaluate.subsets import require_classes

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
        check=lambda found: require_classes(found.bank.require_labels(), found.bank.name),
    )
    settings = adapted(
        probe_settings(protocol, resolved.model),
        features=tuple(features.split(",")) if features else None,
        learning_rates=tuple(rates) if rates else None,
        weight_decays=tuple(decays) if decays else None,
        epochs=epochs,
        batch_size=batch_size,
        augment=augment,
    )
    if repeats and settings.optimizer == "lbfgs":
        raise LowzooError(
            "--repeats is for probes that are trained, and these are solved for: every seed gives the same",
            "Leave it out, or train them, for example with --epochs 100",
        )
    scored = evaluate_linear(resolved, images, settings, preset=protocol, repeats=repeats or _SEEDS, seed=seed, how=how)
    options.draw_confusion(scored, images, output)
    options.finish(scored.result, output)
