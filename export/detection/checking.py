"""Check a detector's file that was made earlier: the parity of its export, on the run's pictures or on others."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError
from lowzoo.data.source import open_set
from lowzoo.detection import is_detector
from lowzoo.detection.folder import load_detector
from lowzoo.export.artifacts.seal import is_unchanged
from lowzoo.export.artifacts.shown import CHANGED
from lowzoo.export.detection.artifact import pictures_of, runner
from lowzoo.export.detection.onnx_file import DetectorFile
from lowzoo.export.detection.parity import DetectionParity, compare, framed
from lowzoo.export.formats.onnx.runtime import notes_of_onnx
from lowzoo.zoo.digest import weights_digest

_MOST = 64
_NOTHING = "nothing was detected, so nothing was compared; name pictures by --data"


@dataclass(frozen=True)
class DetectorReport:
    """What a check found.

    Args:
        path: Path of the file.
        detector: What it was compared with.
        same_weights: Whether they are the ones that the file was made from.
        parity: How far it is from PyTorch.
        broken: Each broken bound; that nothing was compared is one.
        unchanged: Whether no byte of it changed since its export; None if it does not say what its bytes were.
    """

    path: Path
    detector: str
    same_weights: bool
    parity: DetectionParity
    broken: tuple[str, ...]
    unchanged: bool | None = None

    def to_json(self) -> str:
        """The facts as a JSON document."""
        facts = {"schema": "lowzoo.detector_check/1", **dataclasses.asdict(self), "path": str(self.path)}
        return json.dumps(facts, indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        weights = "the weights that it was made from" if self.same_weights else "OTHER weights than it was made from"
        yield f"{self.path} against {self.detector}, {weights}"
        if self.unchanged is False:
            yield CHANGED
        yield self.parity.line()
        for broken in self.broken:
            yield f"Note: {broken}" if self.parity.empty else f"BROKEN: {broken}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def holds_detector(path: Path) -> bool:
    """Whether a file is a detector of `lowzoo export`."""
    return path.suffix == ".onnx" and path.is_file() and "lowzoo.suppression" in notes_of_onnx(path)


def check_detector(path: Path, against: Any, data: Any) -> DetectorReport:
    """Hold a file against the detector that it was made from.

    Args:
        path: The file.
        against: Folder of the detector's run; sought by its name beside the file and here if None.
        data: Pictures to compare on; those of the run and the package's photographs if None.

    Raises:
        LowzooError: The detector is not to be found, or is another one and was not named.
        ParityError: The file does not run.
    """
    notes = notes_of_onnx(path)
    name = notes.get("lowzoo.model", "")
    places = [against] if against is not None else [path.parent / name, Path(name), Path("runs") / name]
    folder = next((Path(place) for place in places if is_detector(place)), None)
    if folder is None and against is not None:
        raise LowzooError(
            f"{against} is no folder of a trained detector, which {path} is compared with",
            f"Name the folder of the run of {name} with --against",
        )
    if folder is None:
        raise LowzooError(f"the detector {name} of {path} is not to be found", "Name the folder of its run: --against")
    trained = load_detector(folder)
    same = notes.get("lowzoo.weights") == f"sha256:{weights_digest(trained.detector)}"
    if not same and against is None:
        raise LowzooError(
            f"{folder} holds other weights than {path} was made from", "Export it again, or name --against"
        )
    try:
        said = json.loads(notes["lowzoo.preprocessing"])["resize"]
        size = int(said["height"]), int(said["width"])
    except (KeyError, TypeError, ValueError) as error:
        raise LowzooError(f"{path} does not say which pictures it takes", "Export it again") from error
    if data is None:
        found = pictures_of(folder)
    else:
        opened = open_set(data)
        source = opened.open(opened.splits[0])
        found = [source.pixels(i) for i in range(min(_MOST, len(source)))]
    pictures = [framed(each, size, trained.backbone.mean) for each in found]
    file = DetectorFile(path)
    if ("masks" in file.names) != trained.detector.masks:
        gives = "masks" if "masks" in file.names else "no masks"
        raise LowzooError(
            f"{path} gives {gives}, and {trained.name} does otherwise, so that they cannot be compared",
            f"Name the folder of the run of {name} with --against",
        )
    inside = notes["lowzoo.suppression"] == "inside"
    parity = compare(trained, pictures, runner(file, trained, suppressed=inside), file.engine)
    broken = (_NOTHING,) if parity.empty else parity.broken()
    return DetectorReport(path, trained.name, same, parity, broken, is_unchanged(path, notes))
