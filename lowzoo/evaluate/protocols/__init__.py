"""Evaluation protocols: one file each, a documented function and its declaration.

The next protocol is a file in this folder and its name below. Another package declares one by an entry point of the
group `lowzoo.protocols` that gives a `Protocol`; `lowzoo eval NAME` is then made of its function as of ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowzoo.base.registry import Registry

if TYPE_CHECKING:
    from lowzoo.evaluate.evaluation import Evaluation


@dataclass(frozen=True)
class Protocol:
    """A way to measure a network.

    Args:
        name: What follows `lowzoo eval`.
        evaluate: Takes a MODEL and, after `*`, its own options; its signature and docstring are the command's, see
            `lowzoo.base.options`. With an argument `divide` it divides its work among several processes, see
            `lowzoo.base.options.Divide`; without one the command refuses them.
    """

    name: str
    evaluate: "Callable[..., Evaluation]"


PROTOCOLS = Registry(
    Protocol,
    "evaluation protocol",
    "lowzoo.protocols",
    {
        name: f"lowzoo.evaluate.protocols.{name}:PROTOCOL"
        for name in ("knn", "linear", "lowshot", "finetune", "transfer")
    }
    # Trained by the loop of `lowzoo.train`, which this package does not import: it only names what that declares.
    | {
        "detect": "lowzoo.train.detection.functions:DETECT",
        "segment": "lowzoo.train.detection.functions:SEGMENT",
    },
)
