"""The package's own kinds of heads: what each takes of a `HeadSpec`."""

from torch import nn

from lowzoo.train.heads.dino import DINOHead, IBOTHead, PatchMLPHead
from lowzoo.train.heads.fitted import FittedHead
from lowzoo.train.heads.kinds import HeadKind
from lowzoo.train.heads.mlp import MLPHead, ProjectionHead
from lowzoo.train.heads.msn import MSNHead
from lowzoo.train.heads.spec import HeadSpec
from lowzoo.train.heads.swav import SwAVHead


def _hidden(spec: HeadSpec, in_dim: int) -> int:
    return spec.hidden or in_dim


def _dino(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return DINOHead(
        in_dim,
        out_dim,
        layers=spec.layers,
        hidden=_hidden(spec, in_dim),
        bottleneck=spec.bottleneck,
        batch_norm=bool(spec.batch_norm),
        fixed_gain=spec.fixed_gain,
    )


def _ibot(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return IBOTHead(in_dim, out_dim, layers=spec.layers, hidden=_hidden(spec, in_dim), bottleneck=spec.bottleneck)


def _ibot_mlp(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return PatchMLPHead(in_dim, out_dim, hidden=_hidden(spec, in_dim))


def _mlp(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return MLPHead(in_dim, out_dim, hidden=_hidden(spec, in_dim), batch_norm=bool(spec.batch_norm))


def _swav(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    norm = spec.batch_norm is not False
    return SwAVHead(in_dim, out_dim, hidden=_hidden(spec, in_dim), bottleneck=spec.bottleneck, batch_norm=norm)


def _msn(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    norm = spec.batch_norm is not False
    return MSNHead(in_dim, out_dim, hidden=_hidden(spec, in_dim), bottleneck=spec.bottleneck, batch_norm=norm)


def _moco(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return ProjectionHead(in_dim, out_dim, hidden=_hidden(spec, in_dim), batch_norm=bool(spec.batch_norm))


def _simclr(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return ProjectionHead(in_dim, out_dim, hidden=_hidden(spec, in_dim), batch_norm=True)


def _fitted(spec: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return FittedHead(in_dim, out_dim, bottleneck=spec.bottleneck)


def _linear(_: HeadSpec, in_dim: int, out_dim: int) -> nn.Module:
    return nn.Linear(in_dim, out_dim)


DINO = HeadKind("dino", _dino, takes_prototypes=True)
IBOT = HeadKind("ibot", _ibot)
IBOT_MLP = HeadKind("ibot_mlp", _ibot_mlp)
MLP = HeadKind("mlp", _mlp)
SWAV = HeadKind("swav", _swav)
MSN = HeadKind("msn", _msn)
MOCO = HeadKind("moco", _moco, embedding=True)
SIMCLR = HeadKind("simclr", _simclr, embedding=True)
FITTED = HeadKind("fitted", _fitted)
LINEAR = HeadKind("linear", _linear)
