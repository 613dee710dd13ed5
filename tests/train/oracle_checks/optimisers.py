"""LARC and LARS, step by step, with their parameter groups."""

import torch
from torch import Tensor, nn

from lowzoo.train.optim.optim import parameter_groups, set_step
from lowzoo.train.optim.optimizers.layerwise import LARC, LARS
from tests.train.oracle_checks.entry import Entry, checks


@checks("LARC_FSDP")
def larc(entry: Entry) -> None:
    settings = entry.settings
    model = _module(entry.state("start."))
    optimizer = LARC(
        parameter_groups(model, "all", settings["weight_decay"]),
        lr=settings["learning_rates"][0],
        momentum=settings["momentum"],
        eta=settings["trust_coefficient"],
        eps=settings["eps"],
        clip=settings["clip"],
    )
    decays = [settings["weight_decay"]] * len(settings["learning_rates"])
    _steps(entry, model, optimizer, decays)


@checks("LARS", "get_params")
def lars(entry: Entry) -> None:
    settings = entry.settings
    model = _module(entry.state("start."))
    groups = parameter_groups(model, "depthwise", 1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        (group["weight_decay"], not group["scaled"]): {names[id(p)] for p in group["params"]}  # type: ignore[attr-defined]
        for group in groups
        if group["params"]
    }
    wanted = {
        (group["weight_decay_factor"], group["lars_excluded"]): set(group["names"]) for group in settings["groups"]
    }
    assert found == {key: members for key, members in wanted.items() if members}
    optimizer = LARS(groups, lr=settings["learning_rates"][0], momentum=settings["momentum"], eta=settings["eta"])
    _steps(entry, model, optimizer, settings["weight_decays"])


def _steps(entry: Entry, model: nn.Module, optimizer: torch.optim.Optimizer, decays: list[float]) -> None:
    for step, (rate, decay) in enumerate(zip(entry.settings["learning_rates"], decays, strict=True)):
        set_step(optimizer, rate, decay)
        gradients = entry.state(f"grad_{step}.")
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name].clone() if name in gradients else None
        optimizer.step()
        for name, parameter in model.named_parameters():
            entry.expect(f"after_{step}.{name}", parameter)


def _module(state: dict[str, Tensor]) -> nn.Module:
    """A module whose parameters have these dotted names."""
    root = nn.Module()
    for name, value in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_parameter(last, nn.Parameter(value.clone()))
    return root
