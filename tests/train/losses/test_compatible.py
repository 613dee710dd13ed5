"""The cosine distance by which a student keeps another model's index."""

import pytest
import torch

from lowzoo.train.losses.compatible import compatible_loss


def test_only_directions_count() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    mapped = torch.tensor([[[5.0, 0.0], [-3.0, 0.0]]], requires_grad=True)
    loss = compatible_loss(mapped, target)
    assert float(loss.detach()) == pytest.approx((0 + 1) / 2)
    assert float(compatible_loss(-target, target)) == pytest.approx(2)
    loss.backward()
    # No pull along the vector: its length is free.
    assert (mapped.grad * mapped).sum(-1).abs().max() < 1e-6
    assert mapped.grad[0, 1, 1] < 0
