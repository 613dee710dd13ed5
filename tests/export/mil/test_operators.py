"""Operators of ML programs one by one: as coremltools writes them for torch's functions, and by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lowzoo.base.quiet import quiet
from lowzoo.export.formats.coreml.operators import for_coreml
from lowzoo.export.mil import load_program
from lowzoo.export.mil.images import points
from lowzoo.export.mil.program import OPS
from lowzoo.export.network.trace import traced

with quiet():
    import coremltools


def numbers(*sides: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> Tensor:
    return torch.empty(sides).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def interpreted(function, x: Tensor, folder, ios: str = "iOS16", half: bool = False) -> tuple[Tensor, dict[str, int]]:
    module = function if isinstance(function, nn.Module) else Call(function)
    with quiet():
        package = coremltools.convert(
            for_coreml(traced(module.eval(), x)),
            inputs=[coremltools.TensorType(name="x", shape=x.shape)],
            outputs=[coremltools.TensorType(name="y", dtype=np.float32)],
            minimum_deployment_target=getattr(coremltools.target, ios),
            compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
            skip_model_load=True,
        )
        package.save(str(folder / "x.mlpackage"))
    program = load_program(folder / "x.mlpackage")
    return program.run(x=x)["y"], program.histogram()


class Slopes(nn.PReLU):
    """Slopes that differ, as equal ones become a leaky relu."""

    def __init__(self):
        super().__init__(4)
        self.weight.data.copy_(torch.tensor([0.1, 0.2, -0.3, 0.4]))


PICTURE = (1, 4, 6, 7)
# The operator that has to be in the program, and what it computes.
WRITTEN = [
    ("tile", lambda x: x.repeat(2, 1, 3, 1)),
    ("tile", lambda x: x[:, :1].expand(1, 5, 6, 7) * 2),
    ("stack", lambda x: torch.stack([x, x + 1, x * x], -1)),
    ("stack", lambda x: torch.stack([x[:, 0], x[:, 1] * 3], -3)),
    ("reduce_l2_norm", lambda x: functional.normalize(x, dim=-1)),
    ("reduce_l2_norm", lambda x: torch.linalg.vector_norm(x, dim=(1, -1), keepdim=True) + x),
    ("reduce_min", lambda x: x.amin((-1, 1))),
    ("reduce_argmax", lambda x: x.argmax(-1, keepdim=True) * x),
    ("reduce_argmin", lambda x: x.argmin(1).float() * 2),
    ("reduce_log_sum_exp", lambda x: x.logsumexp(1)),
    ("square", lambda x: x.var(-1) + x.std(-1)),
    ("real_div", lambda x: (x * x + 1).reciprocal()),
    ("clip", lambda x: x.clamp(min=0.3)),
    ("cumsum", lambda x: x.cumsum(2)),
    ("topk", lambda x: torch.topk(x, 3, dim=-1).values * 2),
    ("topk", lambda x: torch.topk(x, 2, dim=1, largest=False).indices.float() + x.mean()),
    ("argsort", lambda x: x.argsort(-1).float() + x),
    ("upsample_bilinear", lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear")),
    ("upsample_bilinear", lambda x: functional.interpolate(x, size=(9, 11), mode="bilinear", align_corners=True)),
    ("upsample_bilinear", lambda x: functional.interpolate(x, size=(9, 14), mode="bilinear", align_corners=False)),
    ("upsample_nearest_neighbor", lambda x: functional.interpolate(x, scale_factor=3, mode="nearest")),
    ("upsample_nearest_neighbor", lambda x: functional.interpolate(x, size=(12, 7), mode="nearest")),
    ("pixel_shuffle", lambda x: functional.pixel_shuffle(x, 2)),
    ("reverse", lambda x: x.flip((1, -1)) + x),
    ("band_part", lambda x: x.tril(1)),
    ("band_part", lambda x: x.triu(-1)),
    ("gather", lambda x: x[..., torch.tensor([3, 0, 0])] * 2),
    ("gather", lambda x: x.index_select(1, torch.tensor([2, 1]))),
    ("gather_along_axis", lambda x: x.gather(2, (x[:, :, :3] > 0).long())),
    ("select", lambda x: torch.where(x > 0.5, x, -x)),
    ("greater", lambda x: (x > 0.1).float() + x),
    ("logical_and", lambda x: ((x > -1) & (x < 1)).float()),
    ("logical_not", lambda x: (~(x >= 0)).float()),
    ("floor_div", lambda x: torch.div(x, 0.7, rounding_mode="floor")),
    ("log", lambda x: (x * x + 1).log()),
    ("softplus", lambda x: functional.softplus(x)),
    ("leaky_relu", lambda x: functional.leaky_relu(x, 0.2)),
    ("elu", lambda x: functional.elu(x, 1.3)),
    ("exp2", lambda x: torch.exp2(x)),
    ("sin", lambda x: x.sin()),
    ("cos", lambda x: x.cos()),
    ("floor", lambda x: x.floor()),
    ("ceil", lambda x: x.ceil()),
    ("sign", lambda x: x.sign()),
    ("round", lambda x: x.round()),
    ("tan", lambda x: (x / 2).tan()),
    ("atan", lambda x: x.atan()),
    ("asin", lambda x: (x / 3).asin()),
    ("acos", lambda x: (x / 3).acos()),
    ("sinh", lambda x: x.sinh()),
    ("cosh", lambda x: x.cosh()),
    ("atanh", lambda x: (x / 3).atanh()),
    ("rsqrt", lambda x: (x * x + 1).rsqrt()),
    ("prelu", Slopes()),
    ("instance_norm", nn.InstanceNorm2d(4, affine=True)),
    ("layer_norm", nn.LayerNorm((6, 7))),
    ("conv_transpose", nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)),
    ("conv_transpose", nn.ConvTranspose2d(4, 6, (2, 3), stride=(2, 1), dilation=(1, 2), bias=False)),
    ("max_pool", nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    ("max_pool", nn.MaxPool2d(2, 2, ceil_mode=True)),
    ("avg_pool", nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)),
    ("avg_pool", nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=True)),
    ("matmul", lambda x: torch.einsum("bchw,bcwk->bchk", x, x.transpose(-1, -2))),
    ("concat", lambda x: torch.cat([x, x[:, :1], -x], -3)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "function"), WRITTEN, ids=[f"{operator}-{i}" for i, (operator, _) in enumerate(WRITTEN)]
)
def test_what_coremltools_writes(tmp_path, operator, function):
    torch.manual_seed(0)
    x = numbers(*PICTURE)
    module = function if isinstance(function, nn.Module) else Call(function)
    with torch.inference_mode():
        expected = module.eval()(x).float()
    found, operators = interpreted(function, x, tmp_path)
    assert operator in operators, operators
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("operator", ["square", "upsample_bilinear", "stack", "reduce_l2_norm", "tile"])
def test_operators_in_float16(tmp_path, operator):
    function = next(function for name, function in WRITTEN if name == operator)
    x = numbers(*PICTURE)
    found, operators = interpreted(function, x, tmp_path, half=True)
    assert operators.keys() >= {operator, "cast"}
    torch.testing.assert_close(found, function(x), rtol=3e-3, atol=3e-3)


NUMBERS = numbers(2, 3, 4, 5)
WHOLE = torch.arange(-6, 6).reshape(3, 4)
# Operator, arguments, and what torch makes of them.
BY_HAND = [
    ("square", {"x": NUMBERS}, NUMBERS**2),
    ("square", {"x": WHOLE}, WHOLE**2),
    ("add", {"x": NUMBERS, "y": numbers(4, 1)}, NUMBERS + numbers(4, 1)),
    ("mod", {"x": WHOLE, "y": torch.tensor(4)}, torch.remainder(WHOLE, 4)),
    ("floor_div", {"x": WHOLE, "y": torch.tensor(4)}, torch.floor_divide(WHOLE, 4)),
    ("real_div", {"x": WHOLE, "y": torch.tensor(4)}, torch.div(WHOLE, 4, rounding_mode="trunc")),
    ("cast", {"x": torch.tensor([-1.7, 0.0, 2.9]), "dtype": "int32"}, torch.tensor([-1.0, 0.0, 2.0])),
    ("cast", {"x": torch.tensor([-1.7, 0.0, 2.9]), "dtype": "bool"}, torch.tensor([True, False, True])),
    ("select", {"cond": torch.tensor(True), "a": NUMBERS, "b": -NUMBERS}, NUMBERS),
    ("logical_xor", {"x": WHOLE > 0, "y": WHOLE % 2 == 0}, (WHOLE > 0) ^ (WHOLE % 2 == 0)),
    ("logical_or", {"x": WHOLE > 0, "y": WHOLE % 2 == 0}, (WHOLE > 0) | (WHOLE % 2 == 0)),
    ("equal", {"x": WHOLE, "y": torch.tensor(3)}, WHOLE == 3),
    ("not_equal", {"x": WHOLE, "y": torch.tensor(3)}, WHOLE != 3),
    ("less", {"x": WHOLE, "y": torch.tensor(3)}, WHOLE < 3),
    ("less_equal", {"x": WHOLE, "y": torch.tensor(3)}, WHOLE <= 3),
    ("asinh", {"x": NUMBERS}, NUMBERS.asinh()),
    ("acosh", {"x": NUMBERS.abs() + 1}, (NUMBERS.abs() + 1).acosh()),
    ("inverse", {"x": NUMBERS.abs() + 1, "epsilon": torch.tensor(0.5)}, 1 / (NUMBERS.abs() + 1.5)),
    ("softsign", {"x": NUMBERS}, functional.softsign(NUMBERS)),
    ("threshold", {"x": NUMBERS, "alpha": torch.tensor(0.3)}, NUMBERS.clamp(min=0.3)),
    ("clamped_relu", {"x": NUMBERS, "alpha": torch.tensor(0.2), "beta": torch.tensor(1.0)},
     torch.where(NUMBERS >= 0, NUMBERS, 0.2 * NUMBERS).clamp(max=1.0)),
    ("linear_activation", {"x": NUMBERS, "alpha": torch.tensor(2.0), "beta": torch.tensor(1.0)}, 2 * NUMBERS + 1),
    ("scaled_tanh", {"x": NUMBERS, "alpha": torch.tensor(2.0), "beta": torch.tensor(0.5)}, 2 * (NUMBERS / 2).tanh()),
    ("softplus_parametric", {"x": NUMBERS, "alpha": torch.tensor([1.0, 2, 3]), "beta": torch.tensor([1, 0.5, 2])},
     torch.stack([a * functional.softplus(b * NUMBERS[:, i]) for i, (a, b) in enumerate(((1, 1), (2, 0.5), (3, 2)))],
                 1)),
    ("reduce_prod", {"x": NUMBERS, "axes": torch.tensor([-1, 1]), "keep_dims": torch.tensor(True)},
     NUMBERS.prod(3, keepdim=True).prod(1, keepdim=True)),
    ("reduce_l1_norm", {"x": NUMBERS, "axes": torch.tensor([-1])}, NUMBERS.abs().sum(-1)),
    ("reduce_l2_norm", {"x": NUMBERS}, NUMBERS.norm()),
    ("reduce_l2_norm", {"x": NUMBERS, "axes": torch.tensor([1, -1]), "keep_dims": torch.tensor(True)},
     NUMBERS.norm(dim=(1, 3), keepdim=True)),
    ("reduce_sum_square", {"x": NUMBERS, "axes": torch.tensor([0])}, (NUMBERS**2).sum(0)),
    ("reduce_log_sum", {"x": NUMBERS.exp(), "axes": torch.tensor([2])}, NUMBERS.exp().sum(2).log()),
    ("cumsum", {"x": NUMBERS, "axis": torch.tensor(-1), "exclusive": torch.tensor(True)},
     NUMBERS.cumsum(-1) - NUMBERS),
    ("cumsum", {"x": NUMBERS, "axis": torch.tensor(1), "reverse": torch.tensor(True)},
     NUMBERS.flip(1).cumsum(1).flip(1)),
    ("argsort", {"x": NUMBERS, "axis": torch.tensor(-2)}, NUMBERS.argsort(dim=-2, descending=True)),
    ("topk", {"x": NUMBERS, "k": torch.tensor(2), "axis": torch.tensor(1), "ascending": torch.tensor(True),
              "return_indices": torch.tensor(False)}, NUMBERS.topk(2, 1, largest=False).values),
    ("tile", {"x": WHOLE, "reps": torch.tensor([2, 3])}, WHOLE.tile(2, 3)),
    ("stack", {"values": [WHOLE, -WHOLE], "axis": torch.tensor(-1)}, torch.stack([WHOLE, -WHOLE], -1)),
    ("concat", {"values": [WHOLE, -WHOLE], "axis": torch.tensor(-1), "interleave": torch.tensor(True)},
     torch.stack([WHOLE, -WHOLE], -1).flatten(1)),
    ("slice_by_size", {"x": WHOLE, "begin": torch.tensor([1, -3]), "size": torch.tensor([-1, 2])}, WHOLE[1:, 1:3]),
    ("slice_update", {"x": WHOLE, "update": torch.full((2, 2), 9), "begin": torch.tensor([0, 1]),
                      "end": torch.tensor([2, 3])}, torch.tensor([[-6, 9, 9, -3], [-2, 9, 9, 1], [2, 3, 4, 5]])),
    ("sliding_windows", {"x": WHOLE, "axis": torch.tensor(1), "size": torch.tensor(3)},
     torch.stack([WHOLE[:, :3], WHOLE[:, 1:]], 1)),
    ("band_part", {"x": WHOLE, "lower": torch.tensor(0), "upper": torch.tensor(1)}, WHOLE.triu().tril(1)),
    ("reverse", {"x": WHOLE}, WHOLE.flip(0, 1)),
    ("flatten2d", {"x": NUMBERS, "axis": torch.tensor(-1)}, NUMBERS.reshape(24, 5)),
    ("pixel_unshuffle", {"x": numbers(1, 2, 4, 6), "downscale_factor": torch.tensor(2)},
     functional.pixel_unshuffle(numbers(1, 2, 4, 6), 2)),
    ("shape", {"x": NUMBERS}, torch.tensor([2, 3, 4, 5])),
    ("fill", {"shape": torch.tensor([2, 3]), "value": torch.tensor(7)}, torch.full((2, 3), 7)),
    ("fill_like", {"ref_tensor": WHOLE, "value": torch.tensor(0.5)}, torch.full((3, 4), 0.5)),
    ("range_1d", {"start": torch.tensor(1), "end": torch.tensor(8), "step": torch.tensor(3)}, torch.tensor([1, 4, 7])),
    ("one_hot", {"indices": torch.tensor([2, 0]), "one_hot_vector_size": torch.tensor(3), "axis": torch.tensor(0)},
     torch.tensor([[0, 1], [0, 0], [1, 0]])),
    ("non_zero", {"x": torch.tensor([[0, 2], [3, 0]])}, torch.tensor([[0, 1], [1, 0]])),
    ("gather", {"x": NUMBERS, "indices": torch.tensor([[0, -1], [2, 1]]), "axis": torch.tensor(-2)},
     NUMBERS[:, :, [[0, -1], [2, 1]]]),
    ("gather", {"x": WHOLE, "indices": torch.tensor([[0], [3], [1]]), "axis": torch.tensor(1),
                "batch_dims": torch.tensor(1)}, torch.tensor([[-6], [1], [3]])),
    ("gather_nd", {"x": WHOLE, "indices": torch.tensor([[2, 1], [0, -1]])}, torch.tensor([3, -3])),
    ("gather_along_axis", {"x": WHOLE, "indices": torch.tensor([[0, 1, -1, 0]]), "axis": torch.tensor(0)},
     torch.tensor([[-6, -1, 4, -3]])),
    ("scatter", {"data": WHOLE, "indices": torch.tensor([2, 0]), "updates": torch.ones(3, 2, dtype=torch.int64),
                 "axis": torch.tensor(-1), "mode": "update"},
     torch.tensor([[1, -5, 1, -3], [1, -1, 1, 1], [1, 3, 1, 5]])),
    ("scatter_along_axis", {"data": torch.ones(2, 2), "indices": torch.tensor([[0, 0], [1, 1]]),
                            "updates": torch.full((2, 2), 4.0), "axis": torch.tensor(1), "mode": "div"},
     torch.tensor([[1 / 16, 1.0], [1.0, 1 / 16]])),
    ("scatter_nd", {"data": torch.zeros(2, 3), "indices": torch.tensor([[1, 2], [0, -3], [1, 2]]),
                    "updates": torch.tensor([1.0, 2.0, 3.0])}, torch.tensor([[2.0, 0, 0], [0, 0, 4.0]])),
    ("l2_norm", {"x": NUMBERS, "epsilon": torch.tensor(0.1)},
     NUMBERS / (NUMBERS.pow(2).sum((1, 2, 3), keepdim=True) + 0.1).sqrt()),
    ("local_response_norm", {"x": NUMBERS, "size": torch.tensor(3)}, functional.local_response_norm(NUMBERS, 3, k=1.0)),
    ("layer_norm", {"x": NUMBERS, "axes": torch.tensor([1, 3])},
     (NUMBERS - NUMBERS.mean((1, 3), keepdim=True))
     / (NUMBERS.var((1, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()),
    ("l2_pool", {"x": NUMBERS, "kernel_sizes": torch.tensor([2, 2]), "strides": torch.tensor([2, 1])},
     4**0.5 * functional.avg_pool2d(NUMBERS**2, 2, (2, 1)).sqrt()),
    ("einsum", {"values": [NUMBERS, NUMBERS], "equation": "bchw,bchk->bwk"},
     torch.einsum("bchw,bchk->bwk", NUMBERS, NUMBERS)),
    ("conv", {"x": numbers(2, 3, 9), "weight": numbers(4, 3, 3, seed=1), "strides": torch.tensor([2])},
     functional.conv1d(numbers(2, 3, 9), numbers(4, 3, 3, seed=1), stride=2)),
    ("max_pool", {"x": numbers(1, 2, 4, 5, 6), "kernel_sizes": torch.tensor([2, 2, 3])},
     functional.max_pool3d(numbers(1, 2, 4, 5, 6), (2, 2, 3), 1)),
    ("conv_transpose", {"x": numbers(1, 2, 5), "weight": numbers(2, 3, 3, seed=1), "strides": torch.tensor([2]),
                        "pad_type": "custom", "pad": torch.tensor([1, 0])},
     functional.conv_transpose1d(numbers(1, 2, 5), numbers(2, 3, 3, seed=1), stride=2)[..., 1:]),
    ("crop", {"x": NUMBERS, "crop_height": torch.tensor([1, 0]), "crop_width": torch.tensor([2, 1])},
     NUMBERS[:, :, 1:, 2:4]),
    ("resize_bilinear", {"x": NUMBERS, "target_size_height": torch.tensor(7), "target_size_width": torch.tensor(3),
                         "sampling_mode": "UNALIGN_CORNERS"},
     functional.interpolate(NUMBERS, (7, 3), mode="bilinear", align_corners=False)),
    ("resize_bilinear", {"x": NUMBERS, "target_size_height": torch.tensor(7), "target_size_width": torch.tensor(3),
                         "sampling_mode": "STRICT_ALIGN_CORNERS"},
     functional.interpolate(NUMBERS, (7, 3), mode="bilinear", align_corners=True)),
    ("resize_nearest_neighbor", {"x": NUMBERS, "target_size_height": torch.tensor(7),
                                 "target_size_width": torch.tensor(3)}, functional.interpolate(NUMBERS, (7, 3))),
    ("resize", {"x": NUMBERS, "shape": torch.tensor([1, 8, 0]), "resized_dims": torch.tensor(2),
                "sampling_mode": "UNALIGN_CORNERS"},
     functional.interpolate(NUMBERS, (8, 5), mode="bilinear", align_corners=False)),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "arguments", "expected"), BY_HAND, ids=[case[0] for case in BY_HAND])
def test_by_hand(operator, arguments, expected):
    found = OPS[operator](**arguments)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("padding", ["constant", "border", "reflection"])
def test_resampling(aligned, padding):
    if padding == "reflection" and not aligned:
        return
    places = numbers(2, 3, 3, 2, seed=4, low=-1.2, high=1.2)
    found = OPS["resample"](
        NUMBERS, places, "bilinear", padding, torch.tensor(0.0), "normalized_minus_one_to_one", torch.tensor(aligned)
    )
    word = {"constant": "zeros"}.get(padding, padding)
    torch.testing.assert_close(found, functional.grid_sample(NUMBERS, places, "bilinear", word, aligned))


def test_blocks_come_back():
    x = numbers(1, 8, 4, 6)
    torch.testing.assert_close(OPS["depth_to_space"](OPS["space_to_depth"](x, torch.tensor(2)), torch.tensor(2)), x)
    shape, none = torch.tensor([2, 3]), torch.zeros(2, 2, dtype=torch.int64)
    batches = OPS["space_to_batch"](x, shape, none)
    assert batches.shape == (6, 8, 2, 2)
    torch.testing.assert_close(batches[1], x[0, :, ::2, 1::3])
    torch.testing.assert_close(OPS["batch_to_space"](batches, shape, none), x)


def test_points_of_a_side():
    """The examples of Core ML's specification: two pixels become five."""
    wanted = {
        "UNALIGN_CORNERS": [0.0, 0.1, 0.5, 0.9, 1.0],
        "STRICT_ALIGN_CORNERS": [0.0, 0.25, 0.5, 0.75, 1.0],
        "DEFAULT": [0.0, 0.4, 0.8, 1.0, 1.0],
        "OFFSET_CORNERS": [0.1, 0.3, 0.5, 0.7, 0.9],
    }
    for mode, expected in wanted.items():
        assert points(2, 5, mode).tolist() == pytest.approx(expected)
    assert points(4, 1, "ALIGN_CORNERS").tolist() == [1.5]
    with pytest.raises(ValueError, match="points by"):
        points(2, 5, "OTHERS")
    assert math.isclose(points(5, 2, "STRICT_ALIGN_CORNERS")[-1].item(), 4.0)
