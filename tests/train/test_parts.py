"""The pure parts of training: pairs, losses at initialisation, schedules, prototypes, decay groups, batches."""

import math

import numpy as np
import pytest
import timm
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.train.data.bad_images import BadImageLog
from lowzoo.train.data.dataset import EpochBatches
from lowzoo.train.heads import HeadSpec
from lowzoo.train.losses.pairs import cross_view, same_view_and_locals
from lowzoo.train.losses.rob import RobObjective
from lowzoo.train.networks.tokens import patch_side
from lowzoo.train.optim.optim import parameter_groups
from lowzoo.train.recipes.schedules import progress, warmup_cosine
from lowzoo.train.teachers.fitting import fit_head, spherical_kmeans


@pytest.mark.parametrize(("local", "terms"), [(8, 18), (10, 22), (4, 10)])
def test_number_of_pairs(local: int, terms: int) -> None:
    assert same_view_and_locals(2, 2 + local).sum() == terms
    assert cross_view(2, 2 + local).sum() == terms
    assert not torch.equal(same_view_and_locals(2, 2 + local), cross_view(2, 2 + local))


@pytest.mark.parametrize(("kind", "outputs"), [("dino", 65536), ("mlp", 1024)])
def test_loss_at_initialisation_is_ln_k(kind: str, outputs: int) -> None:
    torch.manual_seed(0)
    head = HeadSpec(kind=kind, hidden=64).build(48, outputs)
    scores, features = torch.randn(2, 4, outputs), torch.randn(6, 4, 48)
    objective = RobObjective(0.07)
    loss = objective.loss(head(features.flatten(0, 1)).unflatten(0, (6, 4)), objective.targets(scores))
    assert loss.item() == pytest.approx(math.log(outputs), rel=0.05)


def test_loss_is_bounded_by_the_entropy_of_the_targets() -> None:
    scores = torch.randn(2, 3, 16)
    objective = RobObjective(0.1, 0.1)
    targets = objective.targets(scores)
    entropy = -(targets * targets.log()).sum(-1).mean().item()
    # One global view a target: a student that equals the teacher reaches the bound.
    alone = RobObjective(0.1, 0.1)
    losses = [alone.loss(scores[i : i + 1], alone.targets(scores[i : i + 1])).item() for i in range(2)]
    assert np.mean(losses) == pytest.approx(entropy, rel=1e-5)
    assert objective.loss(torch.randn(2, 3, 16), targets).item() > entropy


def test_weights_of_pairs_that_are_their_shares_change_nothing() -> None:
    scores, logits = torch.randn(2, 3, 16), torch.randn(6, 3, 16)
    plain, shares = RobObjective(0.07), RobObjective(0.07, weights=(2 / 10, 8 / 10))  # 2 equal pairs and 2 x 4 local
    targets = plain.targets(scores)
    torch.testing.assert_close(shares.loss(logits, targets), plain.loss(logits, targets))
    halves = [RobObjective(0.07, weights=weights).loss(logits, targets) for weights in ((1.0, 0.0), (0.0, 1.0))]
    torch.testing.assert_close(
        RobObjective(0.07, weights=(0.4, 0.6)).loss(logits, targets), halves[0] * 0.4 + halves[1] * 0.6
    )
    torch.testing.assert_close(halves[0], plain.loss(logits[:2], targets))


def test_msn_sharpening_is_a_lower_temperature() -> None:
    cosines = torch.rand(1, 5, 20) * 2 - 1
    sharpened = torch.softmax(cosines / 0.1, -1) ** 4
    torch.testing.assert_close(RobObjective(0.025).targets(cosines), sharpened / sharpened.sum(-1, keepdim=True))


def test_plain_schedule_reaches_the_peak_and_the_original_form_does_not() -> None:
    where = progress(20, 5, "step")
    plain = warmup_cosine(where, start=0.1, peak=1.0, end=0.0, warmup=0.1)
    assert plain.max() == pytest.approx(1.0)
    assert plain[0] == pytest.approx(0.1)
    assert plain[-1] < 0.01
    vissl = warmup_cosine(where, start=0.1, peak=1.0, end=0.0, warmup=0.1, form="vissl")
    assert vissl.max() == pytest.approx(0.976, abs=2e-3)
    per_epoch = progress(4, 5, "epoch")
    assert len(np.unique(per_epoch)) == 4


def test_kmeans_comes_nearer_to_the_points_with_every_iteration() -> None:
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(6, 12), dim=1)
    noisy = centres.repeat_interleave(40, 0) + 0.1 * torch.randn(240, 12)
    points = torch.nn.functional.normalize(noisy, dim=1)
    fits = []
    for iterations in (0, 1, 5, 20):
        found = spherical_kmeans(points, 6, iterations=iterations, seed=3)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(6))
        fits.append((points @ found.T).max(1).values.mean().item())
    assert fits == sorted(fits)
    assert fits[-1] > fits[0]
    assert torch.equal(found, spherical_kmeans(points, 6, seed=3))
    with pytest.raises(LowzooError, match="7 prototypes cannot be fitted to 5 images"):
        spherical_kmeans(points[:5], 7)


def test_kmeans_gives_a_lost_centroid_the_worst_served_point() -> None:
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for seed in range(5):
        found = spherical_kmeans(points, 2, seed=seed)
        assert sorted(found.tolist()) == [[0.0, 1.0], [1.0, 0.0]]


def test_fitted_head_gives_cosines_and_ignores_a_common_offset() -> None:
    torch.manual_seed(0)
    features = torch.randn(300, 24, dtype=torch.float64).float()
    head = fit_head(features, prototypes=16, bottleneck=8)
    scores = head(features)
    assert scores.shape == (300, 16)
    assert scores.abs().max() <= 1 + 1e-5
    moved = fit_head(features + 5, prototypes=16, bottleneck=8).bottleneck(features + 5)
    here = head.bottleneck(features)
    # The axes are known up to their signs, the angles between embeddings exactly.
    torch.testing.assert_close(moved @ moved.T, here @ here.T, atol=1e-3, rtol=0)


@pytest.mark.parametrize("width", [64, 256, 1280])
def test_a_head_is_fitted_to_copies_of_two_pictures(width: int) -> None:
    """Their covariance has rank one and, after a ReLU, empty rows: no eigenvalues of it were found in fp32."""
    for seed in range(8):
        torch.manual_seed(seed)
        two = torch.randn(2, width).relu() * (torch.rand(width) > 0.7)
        head = fit_head(two[torch.arange(30) % 2], prototypes=2, bottleneck=8)
        near = head.bottleneck(two) @ head.prototypes.T
        torch.testing.assert_close(near.amax(1), torch.ones(2))
        assert near.argmax(1).unique().numel() == 2


def test_decay_rule_of_rob() -> None:
    module = nn.ModuleDict({"bn1": nn.BatchNorm1d(3), "norm": nn.LayerNorm(3), "fc": nn.Linear(3, 3)})
    decayed, undecayed = parameter_groups(module, "names", 0.1)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {"bn1.weight", "fc.weight"}
    assert {names[id(p)] for p in undecayed["params"]} == {"bn1.bias", "norm.weight", "norm.bias", "fc.bias"}
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.1, 0.0)


def test_batches_can_start_anywhere_and_cover_each_epoch_once() -> None:
    whole = list(EpochBatches(23, 5, epochs=3, seed=7))
    assert len(whole) == 12
    for epoch in range(3):
        indices = [index for batch in whole[4 * epoch : 4 * epoch + 4] for e, index in batch if e == epoch]
        assert len(indices) == len(set(indices)) == 20
    assert whole[:4] != whole[4:8]
    for start in (1, 4, 6, 11):
        assert list(EpochBatches(23, 5, epochs=3, seed=7, start=start)) == whole[start:]


def test_bad_images_are_listed_once_and_stop_a_run_when_too_many(tmp_path) -> None:
    log = BadImageLog(tmp_path / "bad.txt", 0.01)
    log.add(["a.jpg is broken"], 10)
    log.add(["a.jpg is broken"], 250)
    assert (tmp_path / "bad.txt").read_text() == "a.jpg is broken\n"
    with pytest.raises(LowzooError, match="3 of 260 images cannot be read"):
        log.add(["b.jpg is broken"], 260)


def test_patches_are_as_large_as_the_network_has_them() -> None:
    assert patch_side(timm.create_model("vit_tiny_patch16_224", depth=1)) == 16
    assert patch_side(timm.create_model("vit_small_patch8_224", depth=1)) == 8
    assert patch_side(timm.create_model("resnet10t")) == 1
