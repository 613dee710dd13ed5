"""Parameter groups by every rule, and the optimisers that scale layer by layer."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lowzoo.train.heads import DINOHead
from lowzoo.train.optim.optim import make_optimizer, parameter_groups, set_step
from lowzoo.train.optim.optimizers.layerwise import LARC, LARS
from lowzoo.train.settings.config import resolve


class Tiny(nn.Module):
    """One parameter of every kind that a rule tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.ones(1, 1, 4))
        self.conv = nn.Conv2d(4, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.norm = nn.LayerNorm(4)
        self.head = DINOHead(4, 6, layers=2, hidden=5, bottleneck=3)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


# Names that neither decay nor are scaled, and names that do not decay but are scaled.
ONE_D = {"conv.bias", "bn1.weight", "bn1.bias", "norm.weight", "norm.bias", "head.mlp.0.bias", "head.mlp.2.bias"}
RULES: dict[str, tuple[set[str], set[str]]] = {
    "names": (set(), ONE_D - {"bn1.weight"}),
    "one_d": (ONE_D, set()),
    "depthwise": (ONE_D, {"depthwise.weight"}),
    "all": (set(), set()),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_treats_each_parameter(rule: str) -> None:
    model = Tiny()
    groups = parameter_groups(model, rule, 0.3)
    treated = {id(p): (group["weight_decay"], group["scaled"]) for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    left_alone, undecayed = RULES[rule]
    for name, parameter in model.named_parameters():
        if name.startswith("frozen"):
            assert id(parameter) not in treated
        else:
            decay = 0.0 if name in left_alone | undecayed else 0.3
            assert treated[id(parameter)] == (decay, name not in left_alone), name


def test_a_step_changes_the_rate_of_all_and_the_decay_of_some() -> None:
    optimizer = LARS(parameter_groups(Tiny(), "depthwise", 0.3), lr=1.0)
    set_step(optimizer, 0.25, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}
    assert [group["weight_decay"] for group in optimizer.param_groups] == [
        0.5 if group["decays"] else 0.0 for group in optimizer.param_groups
    ]
    assert {group["decays"] for group in optimizer.param_groups} == {True, False}


def _moved(kind: type[LARS] | type[LARC], parameter: Tensor, grad: Tensor, **settings: float) -> Tensor:
    """What one step of rate 1 takes away."""
    leaf = nn.Parameter(parameter.clone())
    leaf.grad = grad.clone()
    kind([leaf], lr=1.0, **settings).step()  # type: ignore[arg-type]
    return parameter - leaf.detach()


@pytest.mark.parametrize("kind", [LARS, LARC])
def test_a_layer_moves_by_its_size_whatever_the_gradients_scale(kind: type[LARS] | type[LARC]) -> None:
    torch.manual_seed(0)
    parameter, grad = torch.randn(5, 7), torch.randn(5, 7)
    moved = _moved(kind, parameter, grad, eta=0.01)
    assert moved.norm().item() == pytest.approx(0.01 * parameter.norm().item(), rel=1e-5)
    torch.testing.assert_close(_moved(kind, parameter, 1000 * grad, eta=0.01), moved)


def test_norms_of_zero() -> None:
    parameter, grad = torch.full((3, 2), 2.0), torch.full((3, 2), 0.5)
    nothing = torch.zeros(3, 2)
    for kind in (LARS, LARC):
        torch.testing.assert_close(_moved(kind, nothing, grad, weight_decay=0.1), grad)
        assert not _moved(kind, nothing, nothing, weight_decay=0.1).any()
    # Without gradient LARS still shrinks a layer, by its trust; LARC leaves it where it is.
    torch.testing.assert_close(_moved(LARS, parameter, nothing, weight_decay=0.1, eta=0.01), 0.01 * parameter)
    assert not _moved(LARC, parameter, nothing, weight_decay=0.1).any()


def test_clipped_larc_is_never_faster_than_plain_sgd() -> None:
    parameter, small = torch.full((3, 2), 2.0), torch.full((3, 2), 1e-4)
    assert _moved(LARC, parameter, small, eta=0.01).norm() > 10 * small.norm()
    torch.testing.assert_close(_moved(LARC, parameter, small, eta=0.01, clip=True), small)
    large = torch.full((3, 2), 1e4)
    torch.testing.assert_close(
        _moved(LARC, parameter, large, eta=0.01, clip=True), _moved(LARC, parameter, large, eta=0.01)
    )


@pytest.mark.parametrize("kind", [LARS, LARC])
def test_state_goes_on_where_it_stopped(kind: type[LARS] | type[LARC]) -> None:
    torch.manual_seed(0)
    model = Tiny()
    optimizer = kind(parameter_groups(model, "depthwise", 1e-3), lr=0.5)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    step(model, optimizer, 1)
    twin = copy.deepcopy(model)
    other = kind(parameter_groups(twin, "depthwise", 1e-3), lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((model, optimizer), (twin, other)):
        step(*pair, 2)
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize(
    ("layers", "kind", "groups"),
    [
        ("rob_dino", torch.optim.AdamW, 2),
        ("rob_swav", LARC, 1),
        ("seed", torch.optim.SGD, 1),
        (("sslight_dino_cnn", "sslight_views_sslight"), LARS, 3),
        (("sslight_dino_vit", "sslight_views_sslight"), torch.optim.AdamW, 2),
    ],
)
def test_presets_take_the_optimiser_and_groups_of_their_papers(
    layers: str | tuple[str, ...], kind: type[torch.optim.Optimizer], groups: int
) -> None:
    config = resolve(layers)
    optimizer = make_optimizer(config, Tiny())
    assert type(optimizer) is kind
    assert len(optimizer.param_groups) == groups
    assert optimizer.param_groups[0]["weight_decay"] == config.weight_decay > 0
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups[1:])
