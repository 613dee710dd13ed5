"""Parameters, multiply-accumulates and feature widths of the catalog, counted again on the models."""

import pytest
import timm
import torch

import lowzoo
from lowzoo import catalog
from lowzoo.system.flops import arithmetic

# The sets of weights of one model differ only in what they hold: one of each size of images is enough.
NAMES = {
    (catalog.find(name)[0].name, catalog.find(name)[1].input_size): name for name in reversed(lowzoo.list_models())
}


@pytest.mark.parametrize("name", sorted(NAMES.values()))
def test_sizes_are_what_is_stated(name):
    entry, weights = catalog.find(name)
    model = timm.create_model(f"lowzoo/{name}").eval()
    with arithmetic() as counter, torch.no_grad():
        features = model(torch.zeros(1, *weights.input_size))
    assert features.shape == (1, entry.feature_dim)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights.params
    assert counter.get_total_flops() / 2e9 == pytest.approx(weights.gmacs, abs=1e-4)
