"""Projection heads, student's and teacher's: features (N, D) in, scores (N, K) out.

A head that can belong to a published teacher keeps the parameter names of its original, so that its state dict loads as
it is. A head whose last layer is linear and fixed for a frozen teacher is cut in two: `bottleneck` gives (N, D'), small
enough to be stored for every view, and `scores` turns that into (N, K). The kinds stand in a registry, see `kinds.py`.
"""

from lowzoo.train.heads.dino import DINOHead, IBOTHead, PatchMLPHead, WeightNormLinear
from lowzoo.train.heads.fitted import FittedHead
from lowzoo.train.heads.kinds import HEADS, HeadKind
from lowzoo.train.heads.mlp import MLPHead, ProjectionHead
from lowzoo.train.heads.msn import MSNHead
from lowzoo.train.heads.spec import HeadSpec
from lowzoo.train.heads.swav import SwAVHead

__all__ = [
    "HEADS",
    "DINOHead",
    "FittedHead",
    "HeadKind",
    "HeadSpec",
    "IBOTHead",
    "MLPHead",
    "MSNHead",
    "PatchMLPHead",
    "ProjectionHead",
    "SwAVHead",
    "WeightNormLinear",
]
