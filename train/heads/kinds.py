"""Kinds of projection heads: what `student_head.kind` may name, and how each is made.

The package's own are declared in `declared.py`. Another package declares one by an entry point of the group
`lowzoo.heads` that gives a `HeadKind`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowzoo.base.lazy import resolved_place
from lowzoo.base.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.train.heads.spec import HeadSpec

Make = Callable[["HeadSpec", int, int], "nn.Module"]


@dataclass(frozen=True)
class HeadKind:
    """A kind of head.

    Args:
        name: What `student_head.kind` takes.
        make: (spec, in_dim, out_dim) -> module that turns features (N, in_dim) into scores (N, out_dim), or
            "module:function" of it.
        takes_prototypes: Whether its last layer is a `WeightNormLinear` called `last_layer`, which can start at the
            prototypes of a teacher.
        embedding: Whether it ends in an embedding, which is compared with others, and not in scores of prototypes.
    """

    name: str
    make: Make | str
    takes_prototypes: bool = False
    embedding: bool = False

    def build(self, spec: "HeadSpec", in_dim: int, out_dim: int) -> "nn.Module":
        """A fresh head from D = `in_dim` features to K = `out_dim` scores."""
        made: nn.Module = resolved_place(self.make)(spec, in_dim, out_dim)
        return made


_NAMES = ("dino", "ibot", "ibot_mlp", "mlp", "swav", "msn", "moco", "simclr", "fitted", "linear")
HEADS: Registry[HeadKind] = Registry(
    HeadKind,
    "projection head",
    "lowzoo.heads",
    {name: f"lowzoo.train.heads.declared:{name.upper()}" for name in _NAMES},
)
