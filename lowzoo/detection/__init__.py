"""Detectors on a backbone of timm: annotated sets, the network, its score, its picture.

What a detector is built from stands in `network`, where its images and boxes come from in `sets`. It is trained by
`lowzoo.train.detection`, of which `lowzoo eval detect` and `lowzoo eval segment` are made, and exported by
`lowzoo.export.detection`.
"""

from lowzoo.io.detector_folder import FACTS, WEIGHTS, is_detector

__all__ = ["FACTS", "WEIGHTS", "is_detector"]
