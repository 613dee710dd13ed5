"""Training: recipes that make a small student without labels; one loop, one folder a recipe.

`lowzoo.train.rob`, `seed` and `sslight` are what `lowzoo train` calls; `run` trains by a recipe's name, those of other
packages included. Each gives a `TrainResult`.
"""

from typing import TYPE_CHECKING

from lowzoo.base.lazy import lazy_attributes

if TYPE_CHECKING:
    from lowzoo.train.api import rob, run, seed, sslight
    from lowzoo.train.recipes import RECIPES
    from lowzoo.train.runs.outcome import TrainResult

__all__ = ["RECIPES", "TrainResult", "rob", "run", "seed", "sslight"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "RECIPES": "lowzoo.train.recipes",
        "TrainResult": "lowzoo.train.runs.outcome",
        **dict.fromkeys(("rob", "run", "seed", "sslight"), "lowzoo.train.api"),
    },
)
