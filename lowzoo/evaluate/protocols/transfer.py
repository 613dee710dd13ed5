"""Transfer: linear probes on other tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from lowzoo.base.options import (
    Augment,
    Count,
    Divide,
    Model,
    Option,
    OutFile,
    Progress,
    Reading,
    Repeats,
    Seed,
    Side,
    Workers,
)
from lowzoo.evaluate.protocols import Protocol

if TYPE_CHECKING:
    from lowzoo.data.source import ImageSource
    from lowzoo.evaluate.evaluation import Evaluation
    from lowzoo.evaluate.knn_protocol import TrainTestData


def transfer(
    model: Model,
    *,
    root: Annotated[str | Path | None, Option(metavar="DIR")] = None,
    task: Sequence[str] = (),
    every: Annotated[bool, Option("--all")] = False,
    data: Annotated["str | Path | ImageSource | TrainTestData | None", Option(metavar="SRC")] = None,
    epochs: Count = None,
    batch_size: Annotated[int | None, Option(metavar="N", minimum=2)] = None,
    augment: Augment = None,
    image_size: Side = None,
    device: str = "auto",
    workers: Workers = 0,
    bf16: bool = False,
    random_init: bool = False,
    repeats: Repeats = 1,
    seed: Seed = 0,
    out: OutFile = None,
    progress: Progress = None,
    divide: Divide = False,
    **reading: Unpack[Reading],
) -> "Evaluation":
    """Train linear probes on MODEL's frozen features for other tasks, by RoB's table.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network.
        root: Folder with the data sets as their owners distribute them.
        task: inaturalist18, cifar100, clevr_count, clevr_dist or places205; may be repeated.
        every: All five: the RoB table for one model.
        data: One task's images from elsewhere, such as hf:NAME.
        epochs: Length instead of each task's; milestones move along.
        batch_size: Batch instead of 256; rates are scaled with it.
        augment: As published, or features that are computed once.
        image_size: Side of the network's input, or height x width, such as 128x256; the model's own if absent.
        device: cpu, cuda, cuda:1, mps or auto.
        workers: Processes that decode; 0 decodes in this one.
        bf16: Run the network in bfloat16.
        random_init: Leave the weights random, to compare.
        repeats: Seeds; the result gives mean and spread.
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
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.evaluate.evaluation import found_lines
    from lowzoo.evaluate.probes.settings import adapted
    from lowzoo.evaluate.run import begin, data_words, extraction
    from lowzoo.evaluate.transfer_tasks import TASKS, chosen_tasks, evaluate_transfer, open_task, transfer_settings
    from lowzoo.system.device import pick_device
    from lowzoo.zoo.given import resolved_model

    names = chosen_tasks((task,) if isinstance(task, str) else task, every=every)
    if data is not None and len(names) > 1:
        raise LowzooError(
            f"--data {data_words(data)} holds one task's images, not those of {len(names)}", "Name one --task"
        )
    folder = None if root is None else Path(root)
    with told(progress) as say:
        run = begin(data if data is not None else str(root), say, divide=divide, out=out)
        images = {name: open_task(name, folder, data, source_options(reading)) for name in names}
        for line in found_lines(*(part for found in images.values() for part in (found.bank, found.queries))):
            run.say(line)
        place = pick_device(device)
        resolved = resolved_model(model, image_size=image_size, pretrained=not random_init, seed=seed)
        settings = {
            name: adapted(
                transfer_settings(TASKS[name], resolved.model), epochs=epochs, batch_size=batch_size, augment=augment
            )
            for name in names
        }
        how = extraction(place, workers, bf16, divide)
        return run.finish(evaluate_transfer(resolved, images, settings, repeats=repeats, seed=seed, how=how))


PROTOCOL = Protocol("transfer", transfer)
