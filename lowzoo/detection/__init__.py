"""Detectors on a backbone of timm: annotated sets, the network, its score, its picture.

What a detector is built from stands in `network`, where its images and boxes come from in `sets`. It is trained by
`lowzoo.train.detection`, of which `lowzoo eval detect` and `lowzoo eval segment` are made, and exported by
`lowzoo.export.detection`.
"""

from pathlib import Path

FACTS = "detector.json"
WEIGHTS = "detector.safetensors"


def is_detector(place: object) -> bool:
    """Whether a word or path is the folder of a trained detector."""
    return isinstance(place, (str, Path)) and (Path(place) / FACTS).is_file()
