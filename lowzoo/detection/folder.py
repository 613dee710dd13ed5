"""A trained detector in a folder: `detector.safetensors` and what it is, `detector.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.detection import FACTS, WEIGHTS
from lowzoo.detection.backbones import facts_of, rebuilt
from lowzoo.detection.network.detector import Backbone, Detector
from lowzoo.detection.network.shape import DetectorShape
from lowzoo.io.files import atomic_path, plain_path, write_text
from lowzoo.io.safetensors_file import check_safetensors, short_digest


@dataclass(frozen=True)
class TrainedDetector:
    """A detector with its weights, in eval mode.

    Args:
        detector: The network.
        name: What it is called.
        revision: Digest of the weights.
        backbone: What it stands on.
        class_names: Names of the classes 1 to K.
        category_ids: Their numbers in the annotation file that it was trained on.
        shorter: Shorter side in pixels that images are brought to.
        longest: Most pixels of the other.
        trained_on: Fingerprint of the images that it was trained on; empty if that is not known.
    """

    detector: Detector
    name: str
    revision: str
    backbone: Backbone
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    shorter: int
    longest: int
    trained_on: str = ""


def save_detector(folder: Path, found: TrainedDetector) -> None:
    """Write a detector, each file whole or not at all.

    Raises:
        LowzooError: The place cannot be written to.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in found.detector.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    facts = {
        "backbone": facts_of(found.backbone),
        "shape": found.detector.shape.model_dump(mode="json"),
        "masks": found.detector.masks,
        "classes": list(found.class_names),
        "category_ids": list(found.category_ids),
        "shorter": found.shorter,
        "longest": found.longest,
        "trained_on": found.trained_on,
    }
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")


def load_detector(folder: str | Path) -> TrainedDetector:
    """Read a trained detector.

    Raises:
        LowzooError: A file is missing or damaged, or they do not belong together.
    """
    folder = Path(folder)
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        shape = DetectorShape.model_validate(facts["shape"])
        backbone = rebuilt(facts["backbone"])
        classes, masks = tuple(facts["classes"]), bool(facts["masks"])
        numbers, shorter, longest = tuple(facts["category_ids"]), int(facts["shorter"]), int(facts["longest"])
        trained_on = str(facts.get("trained_on", ""))
    except LowzooError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise LowzooError(
            f"{folder / FACTS} cannot be read as the description of a detector ({reason_of(error)})", "Train it again"
        ) from error
    file = folder / WEIGHTS
    if not file.is_file():
        raise LowzooError(f"{folder} holds no weights of a detector ({WEIGHTS})", "Let its training come to an end")
    check_safetensors(file)
    detector = Detector(backbone, shape, len(classes), masks=masks)
    try:
        detector.load_state_dict(load_file(plain_path(file)))
    except RuntimeError as error:
        raise LowzooError(f"{file} does not fit {folder / FACTS} ({reason_of(error)})", "Train it again") from error
    name = folder.resolve().name
    revision = short_digest(file)
    return TrainedDetector(detector.eval(), name, revision, backbone, classes, numbers, shorter, longest, trained_on)
