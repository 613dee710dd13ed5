"""Heads built from the shapes in a file: published heads are not always what the published code would make."""

from collections.abc import Mapping

from torch import Tensor

from lowzoo.train.heads import DINOHead, IBOTHead, MSNHead, ProjectionHead, SwAVHead


def dino_head(state: Mapping[str, Tensor]) -> tuple[DINOHead, int]:
    """DINO's, with or without batch norms, its last layer weight-normalised or plain."""
    return _dino(state, ibot=False)


def ibot_head(state: Mapping[str, Tensor]) -> tuple[DINOHead, int]:
    """iBOT's, which scores patches by the same layer or by one of their own."""
    return _dino(state, ibot=True)


def msn_head(state: Mapping[str, Tensor]) -> tuple[MSNHead, int]:
    """MSN's projection and its prototypes."""
    (hidden, in_dim), (outputs, bottleneck) = _pair(state["fc.fc1.weight"]), _pair(state["prototypes"])
    norm = "fc.bn1.weight" in state
    return MSNHead(in_dim, outputs, hidden=hidden, bottleneck=bottleneck, batch_norm=norm), outputs


def swav_head(state: Mapping[str, Tensor]) -> tuple[SwAVHead, int]:
    """SwAV's projection and its prototypes."""
    hidden, in_dim = _pair(state["projection_head.0.weight"])
    outputs, bottleneck = _pair(state["prototypes.weight"])
    norm = "projection_head.1.weight" in state
    return SwAVHead(in_dim, outputs, hidden=hidden, bottleneck=bottleneck, batch_norm=norm), outputs


def projection_head(state: Mapping[str, Tensor]) -> tuple[ProjectionHead, int]:
    """MoCo-v2's and SimCLR's, which end in an embedding."""
    norm = "mlp.1.weight" in state
    (hidden, in_dim), (outputs, _) = _pair(state["mlp.0.weight"]), _pair(state[f"mlp.{3 if norm else 2}.weight"])
    return ProjectionHead(in_dim, outputs, hidden=hidden, batch_norm=norm), outputs


def _dino(state: Mapping[str, Tensor], *, ibot: bool) -> tuple[DINOHead, int]:
    layers = [value for key, value in state.items() if key.startswith("mlp.") and value.ndim == 2]
    hidden, in_dim = _pair(state["mlp.0.weight"])
    plain = "last_layer.weight" in state
    outputs, bottleneck = _pair(state["last_layer.weight" if plain else "last_layer.weight_v"])
    norm = any(key.endswith("running_mean") for key in state)
    if ibot:
        return IBOTHead(
            in_dim,
            outputs,
            patch_out_dim=_own_patch_layer(state),
            layers=len(layers),
            hidden=hidden,
            bottleneck=bottleneck,
        ), outputs
    head = DINOHead(
        in_dim,
        outputs,
        layers=len(layers),
        hidden=hidden,
        bottleneck=bottleneck,
        batch_norm=norm,
        plain_last=plain,
    )
    return head, outputs


def _own_patch_layer(state: Mapping[str, Tensor]) -> int | None:
    """Outputs of a second last layer; None where it repeats the first one's values."""
    second, first = state["last_layer2.weight_v"], state["last_layer.weight_v"]
    if second.shape == first.shape and bool((second == first).all()):
        return None
    return len(second)


def _pair(weight: Tensor) -> tuple[int, int]:
    out_dim, in_dim = weight.shape
    return out_dim, in_dim
