"""k-NN: held-out images are classified by their nearest neighbours."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from lowzoo.base.errors import LowzooError
from lowzoo.base.options import (
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
    read_whole_numbers,
)
from lowzoo.evaluate.protocols import Protocol

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.evaluate.evaluation import Evaluation
    from lowzoo.zoo.resolve import Resolved

BankModel = Annotated[
    "str | Path | nn.Module | Resolved | None",
    Option(metavar="MODEL", early="lowzoo.checkpoints.early:refuse_early"),
]


def knn(
    model: Model,
    *,
    data: Data = None,
    bank: BankModel = None,
    protocol: Literal["dino", "rob", "seed", "sslight"] = "dino",
    bank_split: str = "train",
    query_split: str | None = None,
    image_size: Side = None,
    k: Annotated[int | Sequence[int] | None, Option("--k", metavar="K,K,...", read=read_whole_numbers)] = None,
    neighbors: Literal["exact", "approximate"] = "exact",
    device: str = "auto",
    workers: Workers = 0,
    bf16: bool = False,
    random_init: bool = False,
    seed: Seed = 0,
    confusion: Picture = None,
    out: OutFile = None,
    progress: Progress = None,
    divide: Divide = False,
    **reading: Unpack[Reading],
) -> "Evaluation":
    """Classify held-out images by their nearest neighbours in MODEL's features.

    Cosine similarity, votes weighted by exp(similarity / T); there is nothing random in it. Features are cached, so a
    second run is quick. Under torchrun each process computes features and searches for a part of the images.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint. In Python also what `lowzoo.load` gave, or a network.
        data: Folder of images or parquet; the embedded sample set if absent. In Python also a source with labels
            (`lowzoo.data.source.images_of`), or both parts as a `TrainTestData`.
        bank: The model that has made the bank, which a run was trained to be --compatible-with: queries go through the
            run's map, and the figures are those of both together (cross) and of each by itself. In Python also what
            `lowzoo.load` gave, or a network.
        protocol: Whose settings.
        bank_split: Split whose labels are known.
        query_split: Split to classify; unnamed: validation, else test, else a fifth of each class of an undivided set.
        image_size: Side of the network's input, or height x width, such as 128x256; the model's own if absent.
        k: Numbers of neighbours; the protocol's as far as the bank allows.
        neighbors: Compare with the whole bank, or by an index of faiss that finds at least about 95 of 100 exact
            neighbours (`pip install 'lowzoo[faiss]'`), for banks of millions; the result says how many it found.
        device: cpu, cuda, cuda:1, mps or auto.
        workers: Processes that decode; 0 decodes in this one.
        bf16: Run the network in bfloat16.
        random_init: Leave the weights random, to compare.
        seed: Random seed of the initialisation.
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
    from lowzoo.base.progress import told
    from lowzoo.data.reading.options import source_options
    from lowzoo.evaluate.knn_protocol import fitting_ks, knn_preset, score_knn
    from lowzoo.evaluate.run import begin

    preset, ks = knn_preset(protocol), (k,) if isinstance(k, int) else k
    if bank is not None and random_init:
        raise LowzooError("random weights have no map into another model's space", "Leave out --bank or --random-init")
    with told(progress) as say:
        run = begin(data, say, divide=divide, out=out, confusion=confusion)
        resolved, images, how = run.open(
            model,
            data,
            (bank_split, query_split),
            reading=source_options(reading),
            image_size=image_size,
            device=device,
            workers=workers,
            bf16=bf16,
            random_init=random_init,
            seed=seed,
            check=lambda found: fitting_ks(ks, len(found.bank), preset),
        )
        if bank is not None:
            from lowzoo.evaluate.cross_knn import score_cross_knn

            found = score_cross_knn(resolved, bank, images, preset=preset, ks=ks, neighbors=neighbors, how=how)
            return run.finish(found, images)
        return run.finish(score_knn(resolved, images, preset=preset, ks=ks, neighbors=neighbors, how=how), images)


PROTOCOL = Protocol("knn", knn)
