"""Fine-tuning: the whole network on a fraction of the labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from lowzoo.base.options import (
    Count,
    Data,
    Fraction,
    Model,
    Option,
    OutFile,
    Picture,
    Progress,
    Reading,
    Repeats,
    Seed,
    Side,
    SplitLists,
    Workers,
)
from lowzoo.evaluate.protocols import Protocol

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation


def finetune(
    model: Model,
    *,
    data: Data = None,
    protocol: Literal["sslight", "swav", "seed"] = "sslight",
    share: Fraction = 0.01,
    split_list: SplitLists = (),
    head: OutFile = None,
    epochs: Count = None,
    batch_size: Annotated[int | None, Option(metavar="N", minimum=2)] = None,
    train_split: str = "train",
    test_split: str | None = None,
    image_size: Side = None,
    device: str = "auto",
    workers: Workers = 0,
    bf16: bool = False,
    random_init: bool = False,
    repeats: Repeats = 1,
    seed: Seed = 0,
    confusion: Picture = None,
    out: OutFile = None,
    progress: Progress = None,
    **reading: Unpack[Reading],
) -> "Evaluation":
    """Fine-tune all of MODEL on a fraction of the labels.

    SSLight's classifier is an MLP that starts from the projection head of the training; without one it starts at
    random, and the result says so.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network.
        data: Folder of images or parquet; the embedded sample set if absent. In Python also a source with labels
            (`lowzoo.data.source.images_of`), or both parts as a `TrainTestData`.
        protocol: Whose settings; those of seed are SwAV's.
        share: Fraction of the labels of each class, 0 to 1.
        split_list: Published list of training images, one name a line; may be repeated.
        head: Projection head; the model's own if absent and there is one.
        epochs: Length instead of the protocol's; milestones move along.
        batch_size: Batch instead of the protocol's; rates are scaled with it.
        train_split: Split to train on.
        test_split: Split to classify; unnamed: validation, else test, else a fifth of each class of an undivided set.
        image_size: Side of the network's input, or height x width, such as 128x256; the model's own if absent.
        device: cpu, cuda, cuda:1, mps or auto.
        workers: Processes that decode; 0 decodes in this one.
        bf16: Run the network in bfloat16.
        random_init: Leave the weights random, to compare.
        repeats: Seeds; the result gives mean and spread.
        seed: The first seed.
        confusion: Draw which classes are taken for which.
        out: Also write the JSON document here.
        progress: Takes each line of what is being done, such as `print`; None is silent.
        **reading: How images are found and read, see `lowzoo.base.options.Reading`.

    Returns:
        The figures, and what was written.

    Raises:
        LowzooError: Unknown model, images without classes, a split that is not there, or an option that does not fit.
    """
    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.evaluate.few_labels import LowshotTask, draw_tasks
    from lowzoo.evaluate.finetuning import evaluate_finetune, finetune_settings
    from lowzoo.evaluate.run import begin

    settings = finetune_settings(protocol, share, epochs=epochs, batch_size=batch_size)
    lists, tasks = [Path(file) for file in split_list], list[LowshotTask]()
    with told(progress) as say:
        run = begin(data, say, out=out, confusion=confusion)
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
            check=lambda found: tasks.extend(
                draw_tasks(found, counts=(), share=share, lists=lists, splits=repeats, seed=seed)
            ),
        )
        projection = Path(head) if head is not None else _own_head(model)
        scored = evaluate_finetune(
            resolved,
            images,
            tasks[0].splits,
            settings,
            preset=protocol,
            projection=projection if settings.head == "mlp" else None,
            seed=seed,
            how=how,
        )
        return run.finish(scored, images)


def _own_head(model: object) -> Path | None:
    """The projection head in a run folder, or that which came with a zoo model."""
    from lowzoo import catalog
    from lowzoo.base.errors import LowzooError

    if not isinstance(model, (str, Path)):
        return None
    in_folder = Path(model) / "head.safetensors"
    if in_folder.is_file():
        return in_folder
    try:
        return catalog.find(str(model))[1].head_path
    except LowzooError:
        return None


PROTOCOL = Protocol("finetune", finetune)
