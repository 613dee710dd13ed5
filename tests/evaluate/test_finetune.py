"""Fine-tuning: schedules, the head that starts from the projection head, and the protocol end to end."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.evaluate.few_labels import draw_tasks
from lowzoo.evaluate.finetuning import evaluate_finetune, finetune_settings, mlp_head
from lowzoo.features.extraction import Extraction
from tests.helpers.evaluate import pixel_network

HOW = Extraction(progress=False)


def small():
    torch.manual_seed(0)
    return pixel_network(
        nn.Sequential(nn.Conv2d(3, 16, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )


def projection(path, *, norm, in_dim=12):
    generator = torch.Generator().manual_seed(3)
    widths = [(20, in_dim), (20, 20), (8, 20)]
    tensors = {}
    for number, shape in zip((0, 3, 6) if norm else (0, 2, 4), widths, strict=True):
        tensors[f"mlp.{number}.weight"] = torch.randn(shape, generator=generator)
        tensors[f"mlp.{number}.bias"] = torch.randn(shape[0], generator=generator)
    if norm:
        for number in (1, 4):
            for key in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"mlp.{number}.{key}"] = torch.rand(20, generator=generator) + 0.5
            tensors[f"mlp.{number}.num_batches_tracked"] = torch.tensor(7)
    tensors["last_layer.weight_v"] = torch.randn(40, 8, generator=generator)
    save_file(tensors, path)
    return tensors


def test_published_schedules():
    one, ten = finetune_settings("sslight", 0.01), finetune_settings("sslight", 0.1)
    assert (one.epochs, ten.epochs) == (60, 30)
    assert one.rates(0) == pytest.approx((0.12, 0.12))
    assert one.rates(60) == pytest.approx((1e-6, 1e-6))
    swav = finetune_settings("seed", 0.1)
    assert [swav.rates(epoch)[1] for epoch in (0, 12, 16)] == pytest.approx([0.2, 0.04, 0.008])
    assert finetune_settings("swav", 0.01).rates(0) == (0.02, 5.0)
    short = finetune_settings("swav", 0.1, epochs=5, batch_size=64)
    assert (short.milestones, short.learning_rate) == ((3, 4), 0.0025)


@pytest.mark.parametrize("norm", [True, False])
def test_the_head_starts_as_the_projection_head(tmp_path, norm):
    tensors = projection(tmp_path / "head.safetensors", norm=norm)
    head = mlp_head(12, 3, tmp_path / "head.safetensors").eval()
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [20, 20, 3]
    second = "mlp.3" if norm else "mlp.2"
    assert torch.equal(head[0].weight, tensors["mlp.0.weight"])
    assert torch.equal(head[3].bias, tensors[f"{second}.bias"])
    if norm:
        assert torch.equal(head[4].running_var, tensors["mlp.4.running_var"])
        published = nn.Sequential(*copy.deepcopy(list(head)[:6]))
        x = torch.randn(4, 12)
        assert torch.equal(published(x), head[:6](x))
    assert head(torch.randn(2, 12)).shape == (2, 3)


def test_a_head_that_does_not_fit(tmp_path):
    projection(tmp_path / "head.safetensors", norm=True, in_dim=9)
    with pytest.raises(LowzooError, match="is for features of width 9, not 12"):
        mlp_head(12, 3, tmp_path / "head.safetensors")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(LowzooError, match="holds no MLP"):
        mlp_head(12, 3, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    with pytest.raises(LowzooError, match="is no projection head"):
        mlp_head(12, 3, tmp_path / "cut.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["sslight", "swav"])
def test_end_to_end(data, protocol):
    model = small()
    before = copy.deepcopy(model.model.state_dict())
    (task,) = draw_tasks(data, counts=(), share=0.5, splits=2)
    settings = finetune_settings(protocol, 0.5, epochs=6, batch_size=16)
    first, again = (evaluate_finetune(model, data, task.splits, settings, preset=protocol, how=HOW) for _ in range(2))
    figure = first.result.figures[0]
    assert (figure.metric, figure.seeds, figure.n) == ("finetune_top1", 2, 30)
    assert figure.mean > 60
    assert first.result.to_json() == again.result.to_json()
    assert all(torch.equal(value, before[key]) for key, value in model.model.state_dict().items())
    assert first.predictions.shape == (30,)


def test_refusals(data):
    with pytest.raises(LowzooError, match="Choose of: sslight, swav, seed"):
        finetune_settings("rob", 0.1)
    (task,) = draw_tasks(data, counts=(), share=0.1, splits=1)
    settings = finetune_settings("swav", 0.01, epochs=40)
    hot = type(settings)("linear", 1e30, 1e30, epochs=40, batch_size=8)
    with pytest.raises(LowzooError, match="has diverged"):
        evaluate_finetune(small(), data, task.splits, hot, how=HOW)
