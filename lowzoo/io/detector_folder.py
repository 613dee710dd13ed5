"""The folder of a trained detector, told by its files, for those who must not take it for a backbone's."""

from pathlib import Path

FACTS = "detector.json"
WEIGHTS = "detector.safetensors"


def is_detector(place: object) -> bool:
    """Whether a word or path is the folder of a trained detector."""
    return isinstance(place, (str, Path)) and (Path(place) / FACTS).is_file()
