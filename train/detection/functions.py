"""`lowzoo eval detect` and `lowzoo eval segment`: train a detector on a backbone and measure its AP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from lowzoo.base.options import Divide, Model, Option
from lowzoo.base.spelled import spelled_out
from lowzoo.evaluate.protocols import Protocol
from lowzoo.train.detection.options import DetectOptions

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation

Boxes = Annotated[str | Path | None, Option(metavar="DIR|FILE|hf:ORG/NAME")]


@spelled_out(DetectOptions)
def detect(
    model: Model, *, data: Boxes = None, divide: Divide = False, **options: Unpack[DetectOptions]
) -> "Evaluation":
    """Train Faster R-CNN on MODEL and measure its boxes.

    The whole network is trained; nothing is frozen. Without a preset its layers are small, and sizes of images and
    anchors follow from the data. The presets are the papers': sslight_fpn_1x, sslight_fpn_2x, sslight_c4 and
    sslight_voc_fpn; seed_fpn is SSLight's, as SEED's settings are not published.

    MODEL may be the folder of an earlier run: its detector is then measured as it is, on all of an annotation file, or
    on the part of a set that there is to test on.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint; or the folder of a trained detector. In Python also what `lowzoo.load` gave, or a network of
            timm.
        data: Folder in COCO's layout or VOC's, an annotation file, or a table of `datasets` with boxes.
        divide: In Python: train and measure together with the processes that torchrun started, or that this program's
            process group has; all of them have to make this call then. Commands always do.
        **options: See `DetectOptions`.

    Returns:
        AP, AP50, ... of boxes, and what was written.

    Raises:
        LowzooError: Unknown model, damaged or incomplete data, or settings that do not fit.
    """
    return _transfer("detect", model, data, options, divide)


@spelled_out(DetectOptions)
def segment(
    model: Model, *, data: Boxes = None, divide: Divide = False, **options: Unpack[DetectOptions]
) -> "Evaluation":
    """Train Mask R-CNN on MODEL and measure its masks and boxes.

    As `lowzoo eval detect`, with a mask for each object. The papers' mask AP comes from such a run, their box AP from
    one without masks.

    Args:
        model: Zoo name, hf-hub:ORG/NAME[/FOLDER][@REVISION], run or model folder, timm name, or ARCH@FILE for a
            checkpoint; or the folder of a trained detector. In Python also what `lowzoo.load` gave, or a network of
            timm.
        data: Folder in COCO's layout, or an annotation file, with polygons or run lengths.
        divide: In Python: train and measure together with the processes that torchrun started, or that this program's
            process group has; all of them have to make this call then. Commands always do.
        **options: See `DetectOptions`.

    Returns:
        AP, AP50, ... of masks and of boxes, and what was written.

    Raises:
        LowzooError: Unknown model, damaged or incomplete data, or settings that do not fit.
    """
    return _transfer("segment", model, data, options, divide)


def _transfer(
    task: Literal["detect", "segment"], model: Any, data: Any, options: DetectOptions, divide: bool
) -> "Evaluation":
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
        return transfer(task, model, data, options, say, began, divide=divide)


DETECT = Protocol("detect", detect)
SEGMENT = Protocol("segment", segment)
