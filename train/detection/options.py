"""The options of detection transfer, of which functions and commands are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from lowzoo.base.options import Count, Option, OutFile, Picture, Progress

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
        test_annotations: Annotation file to test on; without one, and none in the folder, a fifth of the images is held
            out.
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
