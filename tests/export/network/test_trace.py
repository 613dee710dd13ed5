"""What is known at export is computed once, and what coremltools does not take is decomposed."""

import math

import pytest
import timm
import torch
from torch import Tensor, nn

from lowzoo.export.formats.coreml.operators import for_coreml, known, merge
from lowzoo.export.network.trace import traced


def operators(program) -> set[str]:
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


class Resampled(nn.Module):
    """A table for 4 x 4 patches, resampled in every run."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, 4)
        self.table = nn.Parameter(torch.randn(1, 6, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        table = nn.functional.interpolate(self.table, x.shape[2:], mode="bicubic", antialias=True)
        return (x + table).mean((2, 3))


def test_a_table_is_resampled_once():
    torch.manual_seed(0)
    net, x = Resampled().eval(), torch.randn(1, 3, 24, 32)
    program = traced(net, x)
    assert not any("upsample" in name for name in operators(program))
    assert all(tuple(value.shape) != (1, 6, 4, 4) for value in program.state_dict.values()), "no dead weight"
    torch.testing.assert_close(program.module()(x), net(x))
    torch.testing.assert_close(for_coreml(program).module()(x), net(x))


@pytest.mark.slow
def test_a_vit_that_takes_several_sizes():
    net = timm.create_model("test_vit", num_classes=0, img_size=160, dynamic_img_size=True).eval()
    x = torch.randn(2, 3, 96, 128)
    with torch.no_grad():
        expected = net(x)
    program = traced(net, x)
    assert not any("upsample" in name for name in operators(program))
    torch.testing.assert_close(program.module()(x), expected)


def test_a_dynamic_batch_stays_dynamic():
    net, x = Resampled().eval(), torch.randn(2, 3, 24, 32)
    program = traced(net, x, ({0: torch.export.Dim("batch", min=1)},))
    assert not any("upsample" in name for name in operators(program))
    for batch in (1, 5):
        images = torch.randn(batch, 3, 24, 32)
        torch.testing.assert_close(program.module()(images), net(images))


def test_a_network_without_such_tables_is_traced_as_it_is():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    assert set(traced(net, torch.zeros(1, 3, 8, 8)).state_dict) == {"0.weight", "0.bias"}


@torch.library.custom_op("lowzoo_test::dequantize", mutates_args=())
def dequantize(weight: Tensor) -> Tensor:
    return weight.float() * 0.1


@dequantize.register_fake
def _(weight: Tensor) -> Tensor:
    return weight.float()


def test_whole_numbers_stay_whole():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.arange(12, dtype=torch.int8).reshape(3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x @ dequantize(self.weight).T

    program = traced(Quantised(), torch.ones(2, 4))
    assert [value.dtype for value in program.state_dict.values()] == [torch.int8]


def test_chance_is_not_folded():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand(3) * 2

    program = traced(Noisy(), torch.zeros(3))
    assert any("rand" in name for name in operators(program))


def test_whatever_coremltools_lacks_is_decomposed():
    class Net(nn.Module):
        def forward(self, x):
            windows = x.unfold(2, 3, 2).unfold(3, 3, 2).sum((-1, -2))
            scaled = torch.addcmul(windows, windows, windows, value=0.5)
            return torch.ops.aten.alias(torch.lerp(scaled, windows, 0.3)).reciprocal().flatten(1)

    net, x = Net(), torch.rand(1, 2, 9, 9) + 1
    program = for_coreml(traced(net, x))
    assert all(known(node.target) for node in program.graph.nodes if node.op == "call_function")
    torch.testing.assert_close(program.module()(x), net(x))


class Written(nn.Module):
    """A table that is written into, place by place, by what is known and by what is not."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        table = torch.zeros(3, 4)
        table[0] = self.weight * 2
        before = table.sum() * torch.ones(4)
        table[1] = table[0].square()
        table[2] = x[0]
        return x * before + table.sum(0) + self.weight.exp().add_(1)


def test_what_is_written_in_place_is_folded_as_it_is_when_it_is_read():
    torch.manual_seed(0)
    net, x = Written().eval(), torch.randn(2, 4)
    program = traced(net, torch.zeros(2, 4))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.slow
def test_positions_that_a_network_computes_in_its_first_run():
    torch.manual_seed(0)
    net = timm.create_model("convit_tiny", num_classes=0, img_size=32, depth=2, local_up_to_layer=2).eval()
    program = traced(net, torch.zeros(1, 3, 32, 32))
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1, 3, 4, 8, 5, 8), (0, 2, 4, 1, 3, 5)),
        ((2, 4, 7, 5, 7, 6), (0, 1, 3, 2, 4, 5)),
        ((2, 1, 3, 1, 2, 4), (5, 3, 0, 1, 2, 4)),
        ((1, 1, 1, 1, 1, 1), (5, 4, 3, 2, 1, 0)),
        ((2, 3, 2, 3, 2, 3), (0, 1, 2, 3, 4, 5)),
    ],
)
def test_a_permutation_of_many_dimensions_is_one_of_fewer(shape, order):
    x = torch.arange(math.prod(shape))
    sizes, merged = merge(list(shape), list(order))
    assert len(sizes) < len(shape)
    torch.testing.assert_close(x.reshape(sizes).permute(merged).flatten(), x.reshape(shape).permute(order).flatten())


class Windows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(-1, channels, 16).softmax(2).sum(1)


@pytest.mark.slow
def test_windows_are_cut_without_a_sixth_dimension():
    x = torch.randn(1, 3, 8, 12)
    program = for_coreml(traced(Windows().eval(), torch.zeros_like(x)))
    assert all(node.meta["val"].ndim <= 5 for node in program.graph.nodes if isinstance(node.meta.get("val"), Tensor))
    torch.testing.assert_close(program.module()(x), Windows()(x))


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2).reshape(x.shape[0], 2, 3, 8, 3)
        return nn.functional.scaled_dot_product_attention(rows, rows * 2, rows + 1).mean((1, 2, 3))


@pytest.mark.parametrize("dynamic", [False, True])
def test_attention_over_windows_is_one_over_images(dynamic):
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    program = traced(Attention().eval(), torch.zeros(2, 3, 6, 8), shapes)
    attended = [node for node in program.graph.nodes if "scaled_dot_product" in str(node.target)]
    assert [node.args[0].meta["val"].ndim for node in attended] == [4]
    for batch in (1, 5) if dynamic else (2,):
        x = torch.randn(batch, 3, 6, 8)
        torch.testing.assert_close(program.module()(x), Attention()(x))
