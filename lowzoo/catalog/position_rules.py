"""Whose rule resamples the position embeddings of a ViT for other sizes; see `lowzoo.zoo.architectures.positions`."""

from typing import Literal

Rule = Literal["timm", "dino", "msn"]
