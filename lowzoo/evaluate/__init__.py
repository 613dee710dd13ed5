"""Evaluation: how good a network's frozen features are.

`lowzoo.evaluate.knn`, `linear`, `lowshot`, `finetune`, `transfer`, `detect` and `segment` are what `lowzoo eval` calls;
each gives an `Evaluation`. Another package adds a protocol by an entry point, see `lowzoo.evaluate.protocols`.
"""

from typing import TYPE_CHECKING

from lowzoo.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation
    from lowzoo.evaluate.knn_protocol import TrainTestData
    from lowzoo.evaluate.protocols.finetune import finetune
    from lowzoo.evaluate.protocols.knn import knn
    from lowzoo.evaluate.protocols.linear import linear
    from lowzoo.evaluate.protocols.lowshot import lowshot
    from lowzoo.evaluate.protocols.transfer import transfer
    from lowzoo.train.detection.functions import detect, segment

__all__ = [
    "Evaluation",
    "TrainTestData",
    "detect",
    "finetune",
    "knn",
    "linear",
    "lowshot",
    "segment",
    "transfer",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Evaluation": "lowzoo.evaluate.evaluation",
        "TrainTestData": "lowzoo.evaluate.knn_protocol",
        # Declared by `lowzoo.train`, whose loop trains the detectors; nothing of it is imported before it is asked for.
        **dict.fromkeys(("detect", "segment"), "lowzoo.train.detection.functions"),
        **{name: f"lowzoo.evaluate.protocols.{name}" for name in ("knn", "linear", "lowshot", "finetune", "transfer")},
    },
)
