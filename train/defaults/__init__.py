"""Settings that fit the data, the device and the budget, where the user names no preset."""

from lowzoo.train.defaults.facts import look
from lowzoo.train.defaults.rules import Chosen, choose

__all__ = ["Chosen", "choose", "look"]
