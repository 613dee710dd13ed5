"""Linear probes: a linear classifier on frozen features."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from lowzoo.base.options import (
    Augment,
    Count,
    Data,
    Divide,
    Model,
    Option,
    OutFile,
    Picture,
    Progress,
    Reading,
    Seed,
    Side,
    Workers,
    read_numbers,
    read_words,
)
from lowzoo.evaluate.protocols import Protocol

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation


_SEEDS = 3


def linear(
    model: Model,
    *,
    data: Data = None,
    protocol: Literal["sweep", "rob", "seed", "sslight", "dino", "msn"] = "sweep",
    features: Annotated[Sequence[str] | None, Option(metavar="F,F,...", read=read_words)] = None,
    lr: Annotated[Sequence[float] | None, Option(metavar="LR,LR,...", read=read_numbers)] = None,
    weight_decay: Annotated[Sequence[float] | None, Option(metavar="WD,WD,...", read=read_numbers)] = None,
    epochs: Count = None,
    batch_size: Annotated[int | None, Option(metavar="N", minimum=2)] = None,
    augment: Augment = None,
    train_split: str = "train",
    test_split: str | None = None,
    image_size: Side = None,
    device: str = "auto",
    workers: Workers = 0,
    bf16: bool = False,
    random_init: bool = False,
    repeats: Count = None,
    seed: Seed = 0,
    confusion: Picture = None,
    out: OutFile = None,
    progress: Progress = None,
    divide: Divide = False,
    **reading: Unpack[Reading],
) -> "Evaluation":
    """Train a linear classifier on MODEL's frozen features.

    By `sweep` the probes are solved for, as scikit-learn's logistic regression is; which features and which penalty
    are best is cross-validated on the training images, and the seed only deals these out. By a paper's protocol, and
    with --lr, --epochs, --batch-size or --augment, they are trained by SGD: candidates together on nine tenths of the
    training images, the best on the tenth again on all of them, once for each seed. The test images decide nothing.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network.
        data: Folder of images or parquet; the embedded sample set if absent. In Python also a source with labels
            (`lowzoo.data.source.images_of`), or both parts as a `TrainTestData`.
        protocol: Whose settings; sweep is ours, on cached features.
        features: own, cls, cls4, pooled, pool2x1, pool2x2; several are candidates.
        lr: Peak rates; several are candidates.
        weight_decay: Weight decays; several are candidates.
        epochs: Length instead of the protocol's; milestones move along.
        batch_size: Batch instead of the protocol's; rates are scaled with it.
        augment: Random crops, or features that are computed once.
        train_split: Split to train on.
        test_split: Split to classify; unnamed: validation, else test, else a fifth of each class of an undivided set.
        image_size: Side of the network's input, or height x width, such as 128x256; the model's own if absent.
        device: cpu, cuda, cuda:1, mps or auto.
        workers: Processes that decode; 0 decodes in this one.
        bf16: Run the network in bfloat16.
        random_init: Leave the weights random, to compare.
        repeats: Seeds of probes that are trained; 3 unless given.
        seed: The first seed.
        confusion: Draw which classes are taken for which.
        out: Also write the JSON document here.
        progress: Takes each line of what is being done, such as `print`; None is silent.
        divide: In Python: divide the work among the processes that torchrun started, or that this program's process
            group has; all of them have to make this call then. Commands always do.
        **reading: How images are found and read, see `lowzoo.base.options.Reading`.

    Returns:
        The figures, and what was written.

    Raises:
        LowzooError: Unknown model, images without classes, a split that is not there, or an option that does not fit.
    """
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.evaluate.linear_probe import evaluate_linear
    from lowzoo.evaluate.probes.settings import adapted, probe_settings
    from lowzoo.evaluate.run import begin
    from lowzoo.evaluate.sets.subsets import require_classes

    with told(progress) as say:
        run = begin(data, say, divide=divide, out=out, confusion=confusion)
        resolved, images, how = run.open(
            model,
            data,
            (train_split, test_split),
            reading=source_options(reading),
            image_size=image_size,
            device=device,
            workers=workers,
            bf16=bf16,
            random_init=random_init,
            check=lambda found: require_classes(found.bank.require_labels(), found.bank.name),
        )
        settings = adapted(
            probe_settings(protocol, resolved.model),
            features=tuple(features) if features else None,
            learning_rates=tuple(lr) if lr else None,
            weight_decays=tuple(weight_decay) if weight_decay else None,
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
        )
        if repeats and settings.optimizer == "lbfgs":
            raise LowzooError(
                "--repeats is for probes that are trained, and these are solved for: every seed gives the same",
                "Leave it out, or train them, for example with --epochs 100",
            )
        scored = evaluate_linear(
            resolved, images, settings, preset=protocol, repeats=repeats or _SEEDS, seed=seed, how=how
        )
        return run.finish(scored, images)


PROTOCOL = Protocol("linear", linear)
