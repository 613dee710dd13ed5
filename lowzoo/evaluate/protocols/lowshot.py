"""Low-shot: logistic regression on a few labelled images of each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from lowzoo.base.options import (
    Data,
    Divide,
    Fraction,
    Model,
    Option,
    OutFile,
    Progress,
    Reading,
    Repeats,
    Seed,
    Side,
    SplitLists,
    Workers,
    read_whole_numbers,
)
from lowzoo.evaluate.protocols import Protocol

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation


def lowshot(
    model: Model,
    *,
    data: Data = None,
    protocol: Literal["rob", "msn"] = "rob",
    shots: Annotated[Sequence[int], Option(metavar="K,K,...", read=read_whole_numbers)] = (1, 2, 5),
    share: Fraction = 0.01,
    split_list: SplitLists = (),
    splits: Repeats = 3,
    train_split: str = "train",
    test_split: str | None = None,
    image_size: Side = None,
    device: str = "auto",
    workers: Workers = 0,
    bf16: bool = False,
    random_init: bool = False,
    seed: Seed = 0,
    out: OutFile = None,
    progress: Progress = None,
    divide: Divide = False,
    **reading: Unpack[Reading],
) -> "Evaluation":
    """Classify by a few labelled images of each class: L2 logistic regression on MODEL's frozen features.

    The penalty is chosen by cross-validation on those few images; mean and spread are over the splits.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network.
        data: Folder of images or parquet; the embedded sample set if absent. In Python also a source with labels
            (`lowzoo.data.source.images_of`), or both parts as a `TrainTestData`.
        protocol: Whose settings.
        shots: Images of each class, a figure each; 0 for none.
        share: Fraction of the images of each class; 0 for none.
        split_list: Published list of training images, one name a line; may be repeated.
        splits: Random splits a figure.
        train_split: Split to train on.
        test_split: Split to classify; unnamed: validation, else test, else a fifth of each class of an undivided set.
        image_size: Side of the network's input, or height x width, such as 128x256; the model's own if absent.
        device: cpu, cuda, cuda:1, mps or auto.
        workers: Processes that decode; 0 decodes in this one.
        bf16: Run the network in bfloat16.
        random_init: Leave the weights random, to compare.
        seed: The first seed.
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
    from lowzoo.evaluate.probes.logistic import require_scikit_learn

    require_scikit_learn()

    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.evaluate.few_labels import LowshotTask, draw_tasks, evaluate_lowshot, logistic_settings
    from lowzoo.evaluate.run import begin

    counts, lists = [int(count) for count in shots if count], [Path(file) for file in split_list]
    settings = logistic_settings(protocol)
    tasks: list[LowshotTask] = []
    with told(progress) as say:
        run = begin(data, say, divide=divide, out=out)
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
                draw_tasks(found, counts=counts, share=share or None, lists=lists, splits=splits, seed=seed)
            ),
        )
        return run.finish(evaluate_lowshot(resolved, images, tasks, settings, preset=protocol, seed=seed, how=how))


PROTOCOL = Protocol("lowshot", lowshot)
