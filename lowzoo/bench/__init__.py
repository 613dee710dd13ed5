"""Latency: one protocol and one schema for every target.

`lowzoo.bench.latency` and `lowzoo.bench.compare` are what `lowzoo bench` calls. A target is a file in `targets/`.
"""

from typing import TYPE_CHECKING

from lowzoo.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from lowzoo.bench.functions import compare, latency
    from lowzoo.bench.timing import Latency, TimedPair

__all__ = ["Latency", "TimedPair", "compare", "latency"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Latency": "lowzoo.bench.timing",
        "TimedPair": "lowzoo.bench.timing",
        "compare": "lowzoo.bench.functions",
        "latency": "lowzoo.bench.functions",
    },
)
