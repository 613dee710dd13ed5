"""The interpreter of ML programs: each operator against torch or by hand, and damage that it must see."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from lowzoo.base.quiet import quiet
from lowzoo.export.formats.coreml.writer import open_coreml, write_coreml
from lowzoo.export.mil import MilError, load_program
from lowzoo.export.mil.program import OPS
from lowzoo.export.mil.values import unpack_bits
from lowzoo.export.network.graph import exported_module
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.spec.spec import ExportSpec
from tests.helpers.export import tiny_resolved
from tests.helpers.slow import slow_but

with quiet():
    import coremltools

FEW = settings(max_examples=4, deadline=None)
MANY = settings(max_examples=20, deadline=None)
numbers = st.integers


def converted(module: nn.Module, *inputs: Tensor, half: bool = False, ios: str = "iOS16"):
    """The program that coremltools makes of a module, in our interpreter."""
    with quiet():
        package = coremltools.convert(
            torch.export.export(module.eval(), inputs).run_decompositions({}),
            inputs=[coremltools.TensorType(name=f"x{i}", shape=x.shape) for i, x in enumerate(inputs)],
            outputs=[coremltools.TensorType(name="y", dtype=np.float32)],
            minimum_deployment_target=getattr(coremltools.target, ios),
            compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
            skip_model_load=True,
        )
    return package


def run(package, tmp_path_factory, *inputs: Tensor) -> tuple[Tensor, dict[str, int]]:
    path = tmp_path_factory.mktemp("mil") / "x.mlpackage"
    with quiet():
        package.save(str(path))
    program = load_program(path)
    return program.run(**{f"x{i}": x for i, x in enumerate(inputs)})["y"], program.histogram()


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


@pytest.mark.slow
@FEW
@given(
    kernel=numbers(1, 5), stride=numbers(1, 3), padding=numbers(0, 2), dilation=numbers(1, 2),
    groups=st.sampled_from([1, 2, 4]), side=numbers(9, 14), bias=st.booleans(),
)  # fmt: skip
def test_convolutions(tmp_path_factory, kernel, stride, padding, dilation, groups, side, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias)
    x = torch.randn(2, 4, side, side + 1)
    with torch.inference_mode():
        found, operators = run(converted(conv, x), tmp_path_factory, x)
        torch.testing.assert_close(found, conv(x), rtol=1e-5, atol=1e-5)
    assert operators.keys() >= {"conv"}


@pytest.mark.slow
@FEW
@given(kernel=numbers(2, 4), stride=numbers(1, 3), side=numbers(8, 12), mean=st.booleans(), inside=st.booleans())
def test_pools(tmp_path_factory, kernel, stride, side, mean, inside):
    x = torch.randn(1, 3, side, side + 2, generator=torch.Generator().manual_seed(side))
    pool = (
        nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=inside)
        if mean
        else nn.MaxPool2d(kernel, stride, kernel // 2)
    )
    found, operators = run(converted(pool, x), tmp_path_factory, x)
    torch.testing.assert_close(found, pool(x), rtol=1e-5, atol=1e-5)
    assert operators.keys() >= {"avg_pool" if mean else "max_pool"}


ACTIVATIONS = {
    "relu": functional.relu, "relu6": functional.relu6, "silu": functional.silu, "sigmoid": torch.sigmoid,
    "tanh": torch.tanh, "gelu": functional.gelu,
    "hard_swish": functional.hardswish, "hard_sigmoid": functional.hardsigmoid,
    "softmax": lambda x: x.softmax(-1), "exp": torch.exp, "sqrt": lambda x: x.abs().sqrt(), "erf": torch.erf,
    "clamp": lambda x: x.clamp(-0.5, 1.5), "rsqrt": lambda x: (x * x + 0.1).rsqrt(),
}  # fmt: skip


def _all_activations(x: Tensor) -> Tensor:
    return torch.cat([function(x) if name != "sqrt" else (x * x).sqrt() for name, function in ACTIVATIONS.items()])


@pytest.mark.slow
@FEW
@given(shape=st.lists(numbers(1, 5), min_size=1, max_size=3), scale=st.floats(0.1, 6))
def test_activations(tmp_path_factory, shape, scale):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * scale
    both = Call(lambda x: torch.cat([functional.gelu(x), functional.hardswish(x)]))
    found, _ = run(converted(both, x), tmp_path_factory, x)
    torch.testing.assert_close(found, both(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mode", "reference"), [
    ("EXACT", functional.gelu), ("TANH_APPROXIMATION", lambda x: functional.gelu(x, approximate="tanh")),
    ("SIGMOID_APPROXIMATION", lambda x: x / (1 + (-1.702 * x).exp())),
])  # fmt: skip
def test_the_kinds_of_gelu(mode, reference):
    # Not through coremltools: its converter drops the word "tanh" of an exported program.
    x = torch.linspace(-5, 5, 41)
    torch.testing.assert_close(OPS["gelu"](x, mode), reference(x))


def test_every_activation_at_once(tmp_path_factory):
    x = torch.linspace(-7, 7, 57).reshape(3, 19)
    found, _ = run(converted(Call(_all_activations), x), tmp_path_factory, x)
    torch.testing.assert_close(found, _all_activations(x), rtol=1e-5, atol=2e-6)


@pytest.mark.slow
@FEW
@given(batch=numbers(1, 3), heads=numbers(1, 3), tokens=numbers(2, 6), width=numbers(1, 8))
def test_attention(tmp_path_factory, batch, heads, tokens, width):
    _attends("iOS18", tmp_path_factory, batch, heads, tokens, width)


@pytest.mark.slow
def test_attention_written_out(tmp_path_factory):
    _attends("iOS16", tmp_path_factory, 2, 3, 5, 4)


def _attends(ios, tmp_path_factory, *shape):
    generator = torch.Generator().manual_seed(shape[-1])
    x = [torch.randn(shape, generator=generator) for _ in range(3)]
    call = Call(functional.scaled_dot_product_attention)
    found, _ = run(converted(call, *x, ios=ios), tmp_path_factory, *x)
    torch.testing.assert_close(found, call(*x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@FEW
@given(sides=st.lists(numbers(3, 6), min_size=3, max_size=3), first=numbers(1, 1), step=numbers(2, 3))
def test_cuts_and_shapes(tmp_path_factory, sides, first, step):
    def forward(x: Tensor) -> Tensor:
        parts = x.split([1, x.shape[1] - 1], 1)
        joined = torch.cat([parts[1][:, :, first:], parts[0][:, :, first:]], 1)[:, :, ::step]
        return (
            joined.permute(2, 0, 1).reshape(joined.shape[2], -1)[:, -1].unsqueeze(0) * x.mean() + x.amax((1, 2)).sum()
        )

    x = torch.randn(sides, generator=torch.Generator().manual_seed(2))
    found, _ = run(converted(Call(forward), x), tmp_path_factory, x)
    torch.testing.assert_close(found, forward(x), rtol=1e-5, atol=1e-5)


@MANY
@given(
    sides=st.lists(numbers(3, 5), min_size=5, max_size=5), pairs=st.lists(numbers(0, 2), min_size=6, max_size=6),
    mode=st.sampled_from(["constant", "reflect", "replicate"]), dimensions=numbers(1, 3),
)  # fmt: skip
def test_padding(sides, pairs, mode, dimensions):
    x = torch.randn(sides[: dimensions + 2], generator=torch.Generator().manual_seed(0))
    last_first = pairs[: 2 * dimensions]
    outer_first = [count for i in reversed(range(dimensions)) for count in last_first[2 * i : 2 * i + 2]]
    value = 1.5 if mode == "constant" else None
    torch.testing.assert_close(
        OPS["pad"](x, torch.tensor(outer_first), mode, torch.tensor(1.5)),
        functional.pad(x, last_first, mode, value), rtol=0, atol=0,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
def test_padding_of_programs(tmp_path_factory, mode):
    x = torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    call = Call(lambda x: functional.pad(x, (1, 2, 0, 3), mode) * 2)
    found, operators = run(converted(call, x), tmp_path_factory, x)
    torch.testing.assert_close(found, call(x))
    assert operators["pad"]


def test_impossible_padding():
    with pytest.raises(ValueError, match="padding 'reflect' by 0 and 3 of a side of 3"):
        OPS["pad"](torch.zeros(2, 3), torch.tensor([0, 3]), "reflect")
    with pytest.raises(ValueError, match=r"padding \[1\] of 2 dimensions"):
        OPS["pad"](torch.zeros(2, 3), torch.tensor([1]))


@pytest.mark.slow
@FEW
@given(channels=numbers(1, 6), side=numbers(2, 5))
def test_normalisation_and_products(tmp_path_factory, channels, side):
    torch.manual_seed(channels)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.batch, self.layer, self.product = nn.BatchNorm2d(channels), nn.LayerNorm(side), nn.Linear(side, 3)
            for parameter in (*self.parameters(), self.batch.running_mean):
                nn.init.normal_(parameter)
            nn.init.uniform_(self.batch.running_var, 0.5, 2)

        def forward(self, x):
            return self.product(self.layer(self.batch(x)))

    net, x = Net(), torch.randn(2, channels, side, side)
    with torch.inference_mode():
        expected = net.eval()(x)
    found, operators = run(converted(net, x), tmp_path_factory, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert operators.keys() >= {"batch_norm", "layer_norm", "linear"}


@MANY
@given(bits=numbers(1, 8), values=st.lists(numbers(0, 255), min_size=1, max_size=40))
def test_packed_bits_come_out_as_they_went_in(bits, values):
    wanted = np.array(values) % (1 << bits)
    packed = 0
    for i, value in enumerate(wanted.tolist()):
        packed |= value << (i * bits)
    data = packed.to_bytes(-(-len(wanted) * bits // 8), "little")
    np.testing.assert_array_equal(unpack_bits(np.frombuffer(data, np.uint8), bits, len(wanted)), wanted)
    with pytest.raises(MilError, match="hold no"):
        unpack_bits(np.frombuffer(data, np.uint8), bits, len(wanted) + 9)


@MANY
@given(rows=numbers(1, 4), columns=numbers(1, 4), axis=numbers(0, 1), seed=numbers(0, 99))
def test_integers_with_scales(rows, columns, axis, seed):
    generator = np.random.default_rng(seed)
    data = generator.integers(-128, 128, (rows, columns))
    scale, zero = (
        generator.random((rows, columns)[axis]).astype(np.float32),
        generator.integers(-9, 9, (rows, columns)[axis]),
    )
    expected = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            k = (i, j)[axis]
            expected[i, j] = (data[i, j] - zero[k]) * scale[k]
    found = OPS["constexpr_affine_dequantize"](*(torch.from_numpy(x) for x in (data, zero, scale)), torch.tensor(axis))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    shape = (rows, 1) if axis == 0 else (1, columns)
    blocks = OPS["constexpr_blockwise_shift_scale"](
        torch.from_numpy(data), torch.from_numpy(scale.reshape(shape)), torch.from_numpy(zero.reshape(shape))
    )
    np.testing.assert_allclose(blocks, expected, rtol=1e-6)


@MANY
@given(seed=numbers(0, 99), rows=numbers(1, 4), columns=numbers(1, 5))
def test_palettes_a_row(seed, rows, columns):
    generator = np.random.default_rng(seed)
    indices, lut = generator.integers(0, 16, (rows, columns)), generator.random((rows, 1, 16, 1)).astype(np.float32)
    expected = [[lut[i, 0, indices[i, j], 0] for j in range(columns)] for i in range(rows)]
    found = OPS["constexpr_lut_to_dense"](torch.from_numpy(indices), torch.from_numpy(lut))
    np.testing.assert_array_equal(found, np.array(expected))


@pytest.mark.slow
def test_float16_is_rounded_after_every_operator(tmp_path_factory):
    call = Call(lambda x: (x + 2048.0) - 2048.0)
    x = torch.tensor([0.25, 1.0, 3.5])
    exact, _ = run(converted(call, x), tmp_path_factory, x)
    torch.testing.assert_close(exact, x)
    rounded, operators = run(converted(call, x, half=True), tmp_path_factory, x)
    assert operators["cast"] >= 1
    torch.testing.assert_close(rounded, ((x.half() + 2048).half() - 2048).float(), rtol=0, atol=0)
    assert not torch.equal(rounded, x)


def write(tmp_path: Path, **spec) -> Path:
    path = tmp_path / "tiny.mlpackage"
    asked = ExportSpec(format="coreml", **spec)
    write_coreml(exported_module(tiny_resolved(), asked), tiny_resolved(), asked, path, ParityChecker(tiny_resolved()))
    return path


def test_one_changed_weight_is_seen(tmp_path):
    path = write(tmp_path)
    checker = ParityChecker(tiny_resolved())
    good = checker.parity(open_coreml(path), with_knn=False)
    weights = path / "Data/com.apple.CoreML/weights/weight.bin"
    content = bytearray(weights.read_bytes())
    # The kernel of the convolution is the longest blob.
    marks = [i for i in range(0, len(content) - 64, 64) if content[i : i + 4] == b"\xef\xbe\xad\xde"]
    _, offset = max(struct.unpack_from("<QQ", content, i + 8) for i in marks)
    start = offset + 4 * 100
    (value,) = struct.unpack_from("<f", content, start)
    struct.pack_into("<f", content, start, value + 0.05)
    weights.write_bytes(content)
    assert good.relative_error < 1e-5
    assert checker.parity(open_coreml(path), with_knn=False).relative_error > 1e-4


def test_an_unknown_operator_is_named(tmp_path, monkeypatch):
    path = write(tmp_path)
    monkeypatch.delitem(OPS, "conv")
    with pytest.raises(MilError, match="does not know: conv"):
        load_program(path)


@pytest.mark.parametrize("damage", slow_but(["nothing", "text", "sentinel"], ["sentinel"]))
def test_damaged_packages(tmp_path, damage):
    path = write(tmp_path)
    model = path / "Data/com.apple.CoreML/model.mlmodel"
    if damage == "nothing":
        model.unlink()
    elif damage == "text":
        model.write_bytes(b"\xff" * 64)
    else:
        weights = path / "Data/com.apple.CoreML/weights/weight.bin"
        weights.write_bytes(weights.read_bytes().replace(b"\xef\xbe\xad\xde", b"\0\0\0\0"))
    with pytest.raises(MilError):
        load_program(path)
