"""Projection heads, in eval and train mode, with what a forward pass leaves in their batch norms."""

import re

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowzoo.train.heads import DINOHead, IBOTHead, MLPHead, MSNHead, PatchMLPHead, ProjectionHead, SwAVHead
from tests.train.oracle_checks.entry import Entry, checks


@checks("DINOHead")
def dino(entry: Entry) -> None:
    """DINO's, SSLight's and VISSL's; the last names its prototypes otherwise."""
    sizes = entry.settings
    # An MLP of a single layer is that layer itself in the originals.
    names = {r"^prototypes0\.": "last_layer.", r"^mlp\.(?=[a-z])": "mlp.0."}
    head = DINOHead(
        sizes["in_dim"],
        sizes["out_dim"],
        layers=sum(key.startswith("state.mlp.") and value.ndim == 2 for key, value in entry.tensors.items()),
        hidden=sizes["hidden"],
        bottleneck=sizes["bottleneck"],
        batch_norm=sizes.get("use_bn", False),
    )
    _check(entry, head, names)


@checks("iBOTHead")
def ibot(entry: Entry) -> None:
    sizes = entry.settings
    head = IBOTHead(
        sizes["in_dim"],
        sizes["out_dim"],
        patch_out_dim=None if sizes["shared"] else sizes["patch_out_dim"],
        hidden=sizes["hidden"],
        bottleneck=sizes["bottleneck"],
    )
    _check(entry, head, {r"^last_layer2\.": "last_layer."} if sizes["shared"] else {})


@checks("IBOTDistillationHead")
def ibot_distillation(entry: Entry) -> None:
    sizes = entry.settings
    head = PatchMLPHead(sizes["in_dim"], sizes["out_dim"], hidden=sizes["hidden"], shared=sizes["shared"])
    _check(entry, head, {r"^to_patch_out\.": "to_class_out."} if sizes["shared"] else {})


@checks("MSNHead")
def msn(entry: Entry) -> None:
    sizes = entry.settings
    head = MSNHead(
        sizes["in_dim"],
        sizes["prototypes"],
        hidden=sizes["hidden"],
        bottleneck=sizes["out_dim"],
        batch_norm=sizes["use_bn"],
    )
    _check(entry, head, {})


@checks("MLP")
def mlp(entry: Entry) -> None:
    in_dim, hidden, out_dim = entry.settings["dims"]
    _check(entry, MLPHead(in_dim, out_dim, hidden=hidden, batch_norm=entry.settings["use_bn"]), {})


@checks("SEED.__init__")
def seed(entry: Entry) -> None:
    _check(entry, ProjectionHead(entry.settings["in_dim"], entry.settings["out_dim"]), {r"^fc\.": "mlp."})


@checks("MOCOHead")
def moco(entry: Entry) -> None:
    sizes = entry.settings
    _check(entry, ProjectionHead(sizes["in_dim"], sizes["out_dim"], hidden=sizes["hidden"]), {})


@checks("SWAVHead", "ResNet.forward_head", "SwAVPrototypesHead")
def swav(entry: Entry) -> None:
    """SSLight's, the official one and VISSL's."""
    sizes = entry.settings
    in_dim, hidden, out_dim = sizes.get("dims") or (sizes["in_dim"], sizes["hidden"], sizes["out_dim"])
    head = SwAVHead(
        in_dim, sizes["prototypes"], hidden=hidden, bottleneck=out_dim, batch_norm=sizes.get("use_bn", True)
    )
    _check(entry, head, {r"^projection\.mlp\.": "projection_head.", r"^prototypes0\.": "prototypes."})


def _check(entry: Entry, head: nn.Module, names: dict[str, str]) -> None:
    """Load the state, run both modes once, compare what the entry holds of it."""
    head = head.double()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = entry.settings.get("bn_eps", module.eps)
    state = _renamed(entry.state("state."), names)
    missing, unexpected = head.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    for mode in ("eval", "train"):
        head.train(mode == "train")
        for kind, value in _outputs(head, entry["x"]).items():
            entry.expect(f"{kind}_{mode}", value)
    left = head.state_dict()
    for original in entry.state("state_after_train."):
        entry.expect(f"state_after_train.{original}", left[_rename(original, names)])


def _outputs(head: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Everything an entry may ask for, from one pass: batch norms move with each."""
    if x.ndim == 3:
        return {"cls": head(x[:, 0]), "patch": head.patch_scores(x[:, 1:])}  # type: ignore[operator]
    if isinstance(head, MSNHead):
        return {"query": head.bottleneck(x)}
    if isinstance(head, SwAVHead):
        embedding = head.bottleneck(x)
        torch.testing.assert_close(normalize(embedding, dim=1), embedding)
        return {"embedding": embedding, "logits": head.scores(embedding)}
    return {"out": head(x)}


def _renamed(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Our names for the original's; where two become one their values must be the same."""
    found: dict[str, Tensor] = {}
    for original, value in state.items():
        name = _rename(original, names)
        assert name not in found or torch.equal(found[name], value), f"{original} differs from {name}"
        found[name] = value
    return found


def _rename(name: str, names: dict[str, str]) -> str:
    for pattern, replacement in names.items():
        name = re.sub(pattern, replacement, name)
    return name
