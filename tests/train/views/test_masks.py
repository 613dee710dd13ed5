"""iBOT's block masks and MSN's token dropping."""

import numpy as np
import pytest
import torch

from lowzoo.train.networks.tokens import TokenDrop
from lowzoo.train.views.masks import block_mask


def test_mask_is_a_function_of_seed_epoch_image_and_view() -> None:
    always = {"ratios": (0.3,), "spreads": (0.2,)}
    base = block_mask((14, 14), 0, 0, 5, 0, **always)
    assert np.array_equal(base, block_mask((14, 14), 0, 0, 5, 0, **always))
    for other in ((1, 0, 5, 0), (0, 1, 5, 0), (0, 0, 6, 0), (0, 0, 5, 1)):
        assert not np.array_equal(base, block_mask((14, 14), *other, **always))


@pytest.mark.parametrize("grid", [(14, 14), (6, 6), (10, 14), (2, 2)])
def test_share_stays_within_its_budget(grid: tuple[int, int]) -> None:
    for index in range(50):
        mask = block_mask(grid, 0, 0, index, 0, ratios=(0.4,), spreads=(0.1,))
        assert mask.shape == grid
        assert mask.dtype == bool
        assert mask.mean() <= 0.5


def test_nothing_is_masked_at_share_nothing() -> None:
    assert not any(block_mask((14, 14), 0, 0, index, 0, ratios=(0.0,), spreads=(0.0,)).any() for index in range(20))


def test_blocks_are_as_often_wide_as_tall_and_take_the_aspect_they_are_told() -> None:
    def sides(aspect: tuple[float, float]) -> np.ndarray:
        masks = [block_mask((14, 14), 0, 0, i, 0, ratios=(0.15,), spreads=(0.0,), aspect=aspect) for i in range(200)]
        return np.array([[mask.any(1).sum(), mask.any(0).sum()] for mask in masks if mask.any()])

    even = sides((0.3, 1 / 0.3))
    assert abs(np.log(even[:, 0] / even[:, 1]).mean()) < 0.1
    tall = sides((2.0, 3.0))
    assert np.log(tall[:, 0] / tall[:, 1]).mean() > 0.3


@pytest.mark.parametrize(("rate", "kept"), [(0.1, 176), (0.15, 166), (0.0, 196)])
def test_drop_keeps_the_class_token_and_one_choice_for_all_images(rate: float, kept: int) -> None:
    tokens = torch.arange(197.0).view(1, -1, 1).expand(3, -1, 2)
    drop = TokenDrop(rate, per_image=False)
    assert torch.equal(drop.eval()(tokens), tokens)
    found = drop.train()(tokens)
    assert found.shape == (3, 1 + kept, 2)
    assert (found[:, 0] == 0).all()
    assert (found == found[:1]).all()
    assert len(set(found[0, :, 0].tolist())) == 1 + kept


def test_drop_per_image_chooses_anew_for_each() -> None:
    tokens = torch.arange(197.0).view(1, -1, 1).expand(3, -1, 1)
    found = TokenDrop(0.5, per_image=True).train()(tokens)
    assert (found[:, 0] == 0).all()
    assert not torch.equal(found[0].sort(0).values, found[1].sort(0).values)
