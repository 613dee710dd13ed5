"""`lowzoo eval detect` and `lowzoo eval segment`: how well a detector does that stands on a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

from lowzoo.base.options import Count, Model, Option, OutFile, Picture, Progress
from lowzoo.base.spelled import spelled_out
from lowzoo.evaluate.protocols import Protocol

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation

Preset = Literal["sslight_fpn_1x", "sslight_fpn_2x", "sslight_c4", "sslight_voc_fpn", "seed_fpn", "own"]


class DetectOptions(TypedDict, total=False):
    """The options that both protocols share.

    Args:
        preset: Whose settings; own, small layers that follow from the data, if absent.
        steps: Length of the training in steps.
        minutes: Length by the clock, loading and score included; 10 if no length and no preset is named.
        epochs: Length in passes over the training images.
        batch_size: Images of a step, over all devices.
        accumulate: Parts that a step's images go through the network in.
        learning_rate: Peak rate for 16 images (32 in sslight_voc_fpn); it grows with the batch.
        image_size: Shorter side of the images in pixels; of the preset, or of the data, if absent.
        attention: Attention of a ViT over the whole image, or within windows but for every fourth block.
        train_annotations: Annotation file to train on, where the folder does not tell.
        test_annotations: Annotation file to test on; without one a fifth of the images is held out.
        images: Folder of the images, where the annotation files do not tell.
        folder: Run folder; runs/detect-MODEL or runs/segment-MODEL if absent.
        resume: Go on with the run in the run folder.
        devices: Processes on this machine, one a device; or start with torchrun.
        device: cpu, cuda, cuda:1, mps or auto.
        workers: Processes that read images; 0 reads in this one.
        bf16: Run the network in bfloat16.
        random_init: Leave the backbone's weights random, to compare.
        seed: Random seed.
        settings: Any setting, e.g. network.channels=128. In Python also several, as a list.
        picture: Draw detections over what was annotated; detections.png in the run folder if absent.
        out: Also write the JSON document here.
        progress: Takes each line of what is being done, such as `print`; None is silent.
    """

    preset: Preset | None
    steps: Count
    minutes: float | None
    epochs: Count
    batch_size: Count
    accumulate: Count
    learning_rate: float | None
    image_size: Annotated[int | None, Option(metavar="PX", minimum=32, maximum=4096)]
    attention: Literal["global", "window"] | None
    train_annotations: Annotated[str | Path | None, Option(metavar="FILE")]
    test_annotations: Annotated[str | Path | None, Option(metavar="FILE")]
    images: Annotated[str | Path | None, Option(metavar="DIR")]
    folder: Annotated[str | Path | None, Option(metavar="DIR")]
    resume: Annotated[bool, Option("--resume", default=False)]
    devices: Annotated[int, Option(minimum=1, default=1)]
    device: Annotated[str, Option(default="auto")]
    workers: Annotated[int, Option(minimum=0, default=0)]
    bf16: Annotated[bool, Option("--bf16", default=False)]
    random_init: Annotated[bool, Option("--random-init", default=False)]
    seed: Annotated[int, Option(minimum=0, default=0)]
    settings: Annotated[Sequence[str] | None, Option("--set", metavar="KEY=VALUE")]
    picture: Picture
    out: OutFile
    progress: Progress


Boxes = Annotated[str | Path | None, Option(metavar="DIR|FILE|hf:ORG/NAME")]


@spelled_out(DetectOptions)
def detect(model: Model, *, data: Boxes = None, **options: Unpack[DetectOptions]) -> "Evaluation":
    """Train Faster R-CNN on MODEL and measure its boxes.

    The whole network is trained; nothing is frozen. Without a preset its layers are small, and sizes of images and
    anchors follow from the data. The presets are the papers': sslight_fpn_1x, sslight_fpn_2x, sslight_c4 and
    sslight_voc_fpn; seed_fpn is SSLight's, as SEED's settings are not published.

    MODEL may be the folder of an earlier run: its detector is then measured as it is.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint; or the folder of a trained detector. In Python also what `lowzoo.load` gave, or a network of
            timm.
        data: Folder in COCO's layout or VOC's, an annotation file, or a table of `datasets` with boxes.
        **options: See `DetectOptions`.

    Returns:
        AP, AP50, ... of boxes, and what was written.

    Raises:
        LowzooError: Unknown model, damaged or incomplete data, or settings that do not fit.
    """
    return _transfer("detect", model, data, options)


@spelled_out(DetectOptions)
def segment(model: Model, *, data: Boxes = None, **options: Unpack[DetectOptions]) -> "Evaluation":
    """Train Mask R-CNN on MODEL and measure its masks and boxes.

    As `lowzoo eval detect`, with a mask for each object. The papers' mask AP comes from such a run, their box AP from
    one without masks.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint; or the folder of a trained detector. In Python also what `lowzoo.load` gave, or a network of
            timm.
        data: Folder in COCO's layout, or an annotation file, with polygons or run lengths.
        **options: See `DetectOptions`.

    Returns:
        AP, AP50, ... of masks and of boxes, and what was written.

    Raises:
        LowzooError: Unknown model, damaged or incomplete data, or settings that do not fit.
    """
    return _transfer("segment", model, data, options)


def _transfer(task: Literal["detect", "segment"], model: Any, data: Any, options: DetectOptions) -> "Evaluation":
    import time

    began = time.monotonic()  # before the heavy imports, which a budget of minutes includes
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.train.detection.work import transfer
    from lowzoo.train.distributed.child_processes import refuse_rerun

    refuse_rerun()
    if data is None:
        raise LowzooError(f"nothing says which images to {task} objects in", "Name them with --data")
    with told(options.get("progress")) as say:
        return transfer(task, model, data, options, say, began)


DETECT = Protocol("detect", detect)
SEGMENT = Protocol("segment", segment)
