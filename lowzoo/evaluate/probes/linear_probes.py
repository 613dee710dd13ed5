"""Many linear probes on the same features, trained in one pass: one matmul for all of them.

Shapes: B images, P probes, D dimensions, C classes. Probes never see each other: each has its own rate, weight decay
and parameters, and the loss is the sum of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy, layer_norm, normalize

from lowzoo.evaluate.probes.settings import ProbeSettings

_MOMENTUM, _TRUST = 0.9, 0.001


@dataclass(frozen=True, slots=True)
class Candidate:
    """One probe of a sweep: which features, and how it is trained; it has no rate if it is solved for."""

    features: str
    learning_rate: float | None
    weight_decay: float


def candidates_of(settings: ProbeSettings) -> list[Candidate]:
    """Every combination, in the order of the settings."""
    rates = (None,) if settings.optimizer == "lbfgs" else settings.learning_rates
    return [
        Candidate(features, rate, decay)
        for features in settings.features
        for rate in rates
        for decay in settings.weight_decays
    ]


class ProbeBank(nn.Module):
    """P linear probes over one kind of features, with their momentum.

    Args:
        candidates: One a probe; all on the same features.
        in_dim: D.
        classes: C.
        settings: How they are trained.
        seed: Random seed of the initialisation.

    Attributes:
        converged: Whether the solver says so of all of them; None for probes that are trained.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, candidates: Sequence[Candidate], in_dim: int, classes: int, settings: ProbeSettings, seed: int
    ) -> None:
        super().__init__()
        self.candidates, self.settings = tuple(candidates), settings
        probes = len(candidates)
        generator = torch.Generator().manual_seed(seed)
        # The same draw for every probe: they differ in what is swept and in nothing else.
        weight = torch.randn(1, classes, in_dim, generator=generator) * settings.init_std
        self.weight_PCD = nn.Parameter(weight.repeat(probes, 1, 1))
        self.bias_PC = nn.Parameter(torch.zeros(probes, classes))
        affine = settings.norm in ("batch", "layer_unit")
        self.gain_PD = nn.Parameter(torch.ones(probes, in_dim)) if affine else None
        self.shift_PD = nn.Parameter(torch.zeros(probes, in_dim)) if affine else None
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("variance", torch.ones(in_dim))
        self._rates = torch.tensor([candidate.learning_rate or 0.0 for candidate in candidates])
        self._decays = torch.tensor([candidate.weight_decay for candidate in candidates])
        self._momentum: dict[str, Tensor] = {}
        self._fitted = False
        self.converged: bool | None = None

    @torch.no_grad()
    def fit_norm(self, x_ND: Tensor) -> None:
        """Standardise by the statistics of all training features, where there are such, instead of running ones."""
        if self.settings.norm == "standardise":
            self.mean.copy_(x_ND.mean(dim=0))
            self.variance.copy_(x_ND.var(dim=0))
            self._fitted = True

    def normalised(self, x_BD: Tensor) -> Tensor:
        """Features (B, D) as every probe gets them, before gains of its own."""
        norm = self.settings.norm
        if norm in ("batch", "standardise"):
            return batch_norm(x_BD, self.mean, self.variance, training=self.training and not self._fitted)
        return layer_norm(x_BD, x_BD.shape[1:]) if norm == "layer_unit" else x_BD

    def forward(self, x_BD: Tensor) -> Tensor:
        """Features (B, D) -> logits (P, B, C)."""
        norm = self.settings.norm
        x_BD = self.normalised(x_BD)
        if self.gain_PD is None or self.shift_PD is None:
            logits_PBC = torch.einsum("bd,pcd->pbc", x_BD, self.weight_PCD)
        elif norm == "batch":
            # A gain before a linear layer is a gain of its columns; only the weights need a copy a probe.
            logits_PBC = torch.einsum("bd,pcd->pbc", x_BD, self.weight_PCD * self.gain_PD[:, None])
            logits_PBC = logits_PBC + torch.einsum("pd,pcd->pc", self.shift_PD, self.weight_PCD)[:, None]
        else:
            h_PBD = normalize(x_BD * self.gain_PD[:, None] + self.shift_PD[:, None], dim=2)
            logits_PBC = h_PBD @ self.weight_PCD.transpose(1, 2)
        return logits_PBC + self.bias_PC[:, None]

    def step(self, x_BD: Tensor, labels_B: Tensor, progress: float) -> None:
        """Train every probe on one batch, `progress` epochs into the training."""
        self.train()
        logits_PBC = self(x_BD)
        labels = labels_B.expand(len(logits_PBC), -1).flatten()
        cross_entropy(logits_PBC.flatten(0, 1), labels, reduction="sum").div(len(x_BD)).backward()
        factor, addend = self.settings.rate_factor(progress)
        for name, parameter in self.named_parameters():
            if parameter.grad is not None:
                self._update(name, parameter, (self._rates * factor + addend).to(parameter.device, non_blocking=True))
                parameter.grad = None

    @torch.no_grad()
    def _update(self, name: str, parameter: Tensor, rates_P: Tensor) -> None:
        shape = (-1, *[1] * (parameter.ndim - 1))
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        is_matrix = name == "weight_PCD"
        if is_matrix or self.settings.decay_all:
            gradient = gradient + parameter * self._decays.to(parameter.device, non_blocking=True).view(shape)
        if is_matrix and self.settings.optimizer == "lars":
            weight, slope = parameter.flatten(1).norm(dim=1), gradient.flatten(1).norm(dim=1)
            trust = torch.where((weight > 0) & (slope > 0), _TRUST * weight / slope, torch.ones_like(weight))
            gradient = gradient * trust.view(shape)
        momentum = self._momentum.get(name)
        if momentum is None:
            momentum = self._momentum[name] = gradient.clone()
        else:
            momentum.mul_(_MOMENTUM).add_(gradient)
        direction = gradient + _MOMENTUM * momentum if self.settings.nesterov else momentum
        parameter.sub_(rates_P.view(shape) * direction)

    @torch.no_grad()
    def predict(self, x_ND: Tensor, *, batch: int = 4096) -> Tensor:
        """Features (N, D) -> the five likeliest classes, or all of fewer, best first (P, N, 5)."""
        self.eval()
        device, top = self.bias_PC.device, min(5, self.bias_PC.shape[1])
        # Logits of a probe that has diverged are no numbers, which count as the least likely.
        parts = [self(x.to(device)).nan_to_num(nan=-torch.inf).topk(top, dim=2).indices for x in x_ND.split(batch)]
        return torch.cat(parts, dim=1).cpu()

    @torch.no_grad()
    def losses(self, x_ND: Tensor, labels_N: Tensor, *, batch: int = 4096) -> Tensor:
        """Mean cross-entropy (P,) in nats on features (N, D); infinite for a probe that has diverged."""
        self.eval()
        device = self.bias_PC.device
        total = torch.zeros(len(self.bias_PC))
        for x, labels in zip(x_ND.split(batch), labels_N.split(batch), strict=True):
            logits_PBC = self(x.to(device))
            for i, logits_BC in enumerate(logits_PBC):
                total[i] += cross_entropy(logits_BC, labels.to(device), reduction="sum").cpu()
        return (total / len(x_ND)).nan_to_num(nan=torch.inf)
