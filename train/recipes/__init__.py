"""What can be set: one typed configuration a recipe; the values of the papers stand in `lowzoo/train/presets`."""

from lowzoo.train.recipes.base import LENGTHS, TrainConfig
from lowzoo.train.recipes.rob import RobConfig
from lowzoo.train.recipes.seed import SeedConfig
from lowzoo.train.recipes.sslight import SslightConfig

RECIPES: dict[str, type[TrainConfig]] = {"rob": RobConfig, "seed": SeedConfig, "sslight": SslightConfig}

__all__ = ["LENGTHS", "RECIPES", "RobConfig", "SeedConfig", "SslightConfig", "TrainConfig"]
