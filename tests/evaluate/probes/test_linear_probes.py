"""Linear probes: each trained as if it were alone, by the rules of torch's own optimiser, to scikit-learn's optimum."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lowzoo.evaluate.probes.feeds import CachedFeed
from lowzoo.evaluate.probes.linear_probes import Candidate, ProbeBank, candidates_of
from lowzoo.evaluate.probes.settings import PROBES, ProbeSettings, adapted, family_of, probe_settings
from lowzoo.evaluate.probes.solved import solve


def blobs(count, classes=4, dim=6, seed=0, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(0, classes, (count,), generator=generator)
    return centres[labels] + spread * torch.randn(count, dim, generator=generator), labels


def train(bank, x, labels, settings, seed=0):
    feed = CachedFeed([x], labels, settings, "cpu")
    for progress, (features,), targets in feed.batches(np.arange(len(x)), seed):
        bank.step(features, targets, progress)
    return bank


@pytest.mark.parametrize("norm", ["none", "batch", "layer_unit"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_every_probe_follows_torchs_sgd(norm, nesterov):
    x, labels = blobs(96)
    settings = ProbeSettings(
        learning_rates=(0.1, 0.5), weight_decays=(0.0, 0.01), epochs=3, batch_size=32, nesterov=nesterov, norm=norm
    )
    bank = train(ProbeBank(candidates_of(settings), 6, 4, settings, 7), x, labels, settings)
    for i, candidate in enumerate(candidates_of(settings)):
        start = ProbeBank([candidate], 6, 4, settings, 7)
        alone = Alone(norm)
        with torch.no_grad():
            alone.linear.weight.copy_(start.weight_PCD[0])
            alone.linear.bias.zero_()
        optimiser = torch.optim.SGD(
            alone.parameters(), candidate.learning_rate, 0.9, weight_decay=candidate.weight_decay, nesterov=nesterov
        )
        for progress, (features,), targets in CachedFeed([x], labels, settings, "cpu").batches(np.arange(96), 0):
            optimiser.param_groups[0]["lr"] = candidate.learning_rate * settings.rate_factor(progress)[0]
            optimiser.zero_grad()
            cross_entropy(alone(features), targets).backward()
            optimiser.step()
        torch.testing.assert_close(bank.weight_PCD[i], alone.linear.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(bank.bias_PC[i], alone.linear.bias, rtol=1e-4, atol=1e-5)


class Alone(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.norm = {"none": nn.Identity, "batch": lambda: nn.BatchNorm1d(6), "layer_unit": lambda: nn.LayerNorm(6)}[
            norm
        ]()
        self.unit = norm == "layer_unit"
        self.linear = nn.Linear(6, 4)

    def forward(self, x):
        x = self.norm(x)
        return self.linear(nn.functional.normalize(x) if self.unit else x)


def test_lars_moves_a_matrix_by_a_thousandth_of_its_norm():
    x, labels = blobs(64)
    settings = ProbeSettings(learning_rates=(1.0,), optimizer="lars", batch_size=64, epochs=1)
    bank = ProbeBank(candidates_of(settings), 6, 4, settings, 0)
    before = bank.weight_PCD.detach().clone()
    bank.step(x, labels, 0.0)
    torch.testing.assert_close((bank.weight_PCD - before).norm(), 0.001 * before.norm(), rtol=1e-4, atol=0)


def test_the_optimum_is_that_of_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    (x, labels), (test_x, _truth) = blobs(400), blobs(500, seed=1)
    decay = 0.01
    settings = ProbeSettings(
        learning_rates=(0.5,),
        weight_decays=(decay,),
        epochs=300,
        batch_size=400,
        per_step=True,
        nesterov=True,
        decay_all=False,
        norm="standardise",
        augmentation="none",
    )
    bank = ProbeBank(candidates_of(settings), 6, 4, settings, 0)
    bank.fit_norm(x)
    train(bank, x, labels, settings)
    mean, deviation = x.mean(0), x.std(0)
    solver = linear_model.LogisticRegression(C=1 / (decay * len(x)), tol=1e-8, max_iter=1000)
    solver.fit(((x - mean) / deviation).numpy(), labels.numpy())
    np.testing.assert_allclose(bank.weight_PCD[0].detach().numpy(), solver.coef_, atol=2e-3)
    expected = solver.predict(((test_x - mean) / deviation).numpy())
    assert (bank.predict(test_x)[0, :, 0].numpy() == expected).mean() > 0.995


SOLVED = ProbeSettings(optimizer="lbfgs", norm="standardise", augmentation="none")


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_solved_probes_are_those_of_logistic_regression(shift):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, labels = blobs(400)
    test_x, _ = blobs(300, seed=5)
    x, test_x = x + shift, test_x + shift
    settings = dataclasses.replace(SOLVED, weight_decays=(1e-3, 1e-1, 1e-2))
    bank = ProbeBank(candidates_of(settings), 6, 4, settings, 0)
    bank.fit_norm(x)
    assert solve(bank, x, labels)
    mean, deviation = x.mean(0), x.std(0)
    for i, decay in enumerate(settings.weight_decays):
        solver = linear_model.LogisticRegression(C=1 / (decay * len(x)), tol=1e-8, max_iter=1000)
        solver.fit(((x - mean) / deviation).double().numpy(), labels.numpy())
        np.testing.assert_allclose(bank.weight_PCD[i].detach().numpy(), solver.coef_, atol=5e-3)
        expected = solver.predict_proba(((test_x - mean) / deviation).double().numpy())
        found = bank(test_x)[i].softmax(1).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_solver_that_runs_out_of_steps_says_so(monkeypatch):
    x, labels = blobs(400)
    settings = dataclasses.replace(SOLVED, weight_decays=(1e-5,))
    bank = ProbeBank(candidates_of(settings), 6, 4, settings, 0)
    bank.fit_norm(x)
    monkeypatch.setattr("lowzoo.evaluate.probes.solved._MOST_STEPS", 2)
    assert not solve(bank, x, labels)


def test_a_solver_that_is_stuck_says_so():
    # Weights are so small here that their penalty, like all of the loss, is the same number before and after a step.
    x, labels = blobs(400)
    settings = dataclasses.replace(SOLVED, weight_decays=(1e-2, 1e5))
    bank = ProbeBank(candidates_of(settings), 6, 4, settings, 0)
    bank.fit_norm(x)
    assert not solve(bank, x, labels)


def test_probes_are_solved_in_parts_as_in_one(monkeypatch):
    x, labels = blobs(400)
    settings = dataclasses.replace(SOLVED, weight_decays=(1e-2,))
    whole, parts = (ProbeBank(candidates_of(settings), 6, 4, settings, seed) for seed in (0, 1))
    for bank, chunk in ((whole, 400), (parts, 150)):
        monkeypatch.setattr("lowzoo.evaluate.probes.solved._CHUNK", chunk)
        bank.fit_norm(x)
        solve(bank, x, labels)
    torch.testing.assert_close(parts.weight_PCD, whole.weight_PCD, atol=2e-3, rtol=0)


def test_a_probe_that_diverges_leaves_the_others_alone():
    x, labels = blobs(128)
    settings = ProbeSettings(learning_rates=(0.3,), epochs=5, batch_size=32)
    alone = train(ProbeBank(candidates_of(settings), 6, 4, settings, 0), x, labels, settings)
    both = ProbeBank([Candidate("own", 0.3, 0.0), Candidate("own", 1e30, 0.0)], 6, 4, settings, 0)
    train(both, x, labels, settings)
    torch.testing.assert_close(both.weight_PCD[0], alone.weight_PCD[0])
    assert both.predict(x).shape == (2, 128, 4)
    assert torch.equal(both.predict(x)[0], alone.predict(x)[0])


def test_rates_fall_as_published():
    steps = PROBES["rob"]["vit"]
    assert [steps.rate_factor(epoch)[0] for epoch in (0, 7.9, 8, 16, 27.9)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])
    cosine = ProbeSettings(epochs=10, final_rate=0.02)
    assert cosine.rate_factor(0) == (1.0, 0.0)
    assert cosine.rate_factor(5.9) == cosine.rate_factor(5.0)  # an epoch at a time
    assert cosine.rate_factor(10)[1] == pytest.approx(0.02)
    assert dataclasses.replace(cosine, per_step=True).rate_factor(5.5) != cosine.rate_factor(5.0)


def test_settings_follow_the_architecture():
    import timm

    networks = {name: timm.create_model(name, num_classes=0) for name in ("vit_tiny_patch16_224", "mobilenetv2_100")}
    assert [family_of(network) for network in networks.values()] == ["vit", "cnn"]
    assert probe_settings("rob", networks["vit_tiny_patch16_224"]).features == ("cls", "cls4")
    assert probe_settings("seed", networks["mobilenetv2_100"]).learning_rates == (3.0, 10.0, 30.0)
    assert family_of(timm.create_model("lowzoo/rob_mobilenetv3_large", num_classes=0)) == "mobilenetv3"


def test_shorter_training_and_smaller_batches_keep_the_shape_of_the_schedule():
    short = adapted(PROBES["rob"]["vit"], epochs=14, batch_size=64, augment=False)
    assert short.milestones == (4, 8, 12)
    assert short.learning_rates == (0.0025,)
    assert short.augmentation == "none"
    assert adapted(PROBES["sweep"]["vit"], augment=True).augmentation == "crop"


@pytest.mark.parametrize(
    "asked",
    [{"learning_rates": (0.1,)}, {"epochs": 3}, {"batch_size": 64}, {"augment": True}, {"weight_decays": (0.0, 1.0)}],
)
def test_probes_are_solved_unless_training_is_asked_for(asked):
    settings = PROBES["sweep"]["vit"]
    assert adapted(settings, weight_decays=(1e-2,), features=("cls",)).optimizer == "lbfgs"
    assert adapted(settings, **asked).optimizer == "sgd"


@pytest.mark.parametrize("changed", [{"norm": "batch"}, {"augmentation": "crop"}])
def test_what_cannot_be_solved_for_is_refused(changed):
    with pytest.raises(ValueError, match="standardised features without augmentation"):
        dataclasses.replace(SOLVED, **changed)
