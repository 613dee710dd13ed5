"""The authors' networks written out once more: functions of their tensors under their own names, and of images.

Facts only (order of layers, strides, eps, padding); none of it goes through timm.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]
Activation = Callable[[Tensor], Tensor]


def _norm(state: State, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=eps)


def _conv(state: State, name: str, x: Tensor, stride: int = 1, *, padding: int | None = None) -> Tensor:
    weight = state[f"{name}.weight"]
    groups = x.shape[1] // weight.shape[1]
    padding = weight.shape[-1] // 2 if padding is None else padding
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride=stride, padding=padding, groups=groups)


def resnet(state: State, images: Tensor) -> Tensor:
    """Any of the ResNets: basic or bottleneck blocks, of any width; (B, 3, H, W) to (B, D)."""
    if any(key.startswith("encoder.") for key in state):  # SSLight: parts of a Sequential
        parts = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
        state = {f"{parts[key.split('.')[1]]}.{key.split('.', 2)[2]}": value for key, value in state.items()}
    x = F.max_pool2d(F.relu(_norm(state, "bn1", _conv(state, "conv1", images, 2))), 3, 2, 1)
    for layer in range(1, 5):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in state:
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            shortcut = x
            if f"{name}.downsample.0.weight" in state:
                shortcut = _conv(state, f"{name}.downsample.0", x, stride, padding=0)
                shortcut = _norm(state, f"{name}.downsample.1", shortcut)
            if f"{name}.conv3.weight" in state:  # the stride sits on the 3 x 3 convolution
                y = F.relu(_norm(state, f"{name}.bn1", _conv(state, f"{name}.conv1", x)))
                y = F.relu(_norm(state, f"{name}.bn2", _conv(state, f"{name}.conv2", y, stride)))
                y = _norm(state, f"{name}.bn3", _conv(state, f"{name}.conv3", y))
            else:
                y = F.relu(_norm(state, f"{name}.bn1", _conv(state, f"{name}.conv1", x, stride)))
                y = _norm(state, f"{name}.bn2", _conv(state, f"{name}.conv2", y))
            x = F.relu(y + shortcut)
            block += 1
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def mobilenetv2(state: State, images: Tensor) -> Tensor:
    """torchvision's MobileNetV2 as SSLight wraps it; (B, 3, H, W) to (B, 1280)."""
    strided = (2, 4, 7, 14)  # blocks that halve the maps
    x = F.relu6(_norm(state, "encoder.0.1", _conv(state, "encoder.0.0", images, 2)))
    for index in range(1, 18):
        name, stride, y = f"encoder.{index}.conv", 2 if index in strided else 1, x
        if index > 1:
            y = F.relu6(_norm(state, f"{name}.0.1", _conv(state, f"{name}.0.0", y)))
        depthwise = f"{name}.{0 if index == 1 else 1}"
        y = F.relu6(_norm(state, f"{depthwise}.1", _conv(state, f"{depthwise}.0", y, stride)))
        last = 1 if index == 1 else 2
        y = _norm(state, f"{name}.{last + 1}", _conv(state, f"{name}.{last}", y))
        x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
    x = F.relu6(_norm(state, "encoder.18.1", _conv(state, "encoder.18.0", x)))
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def seed_mobilenetv3(state: State, images: Tensor) -> Tensor:
    """SEED's MobileNetV3-Large, squeeze-excite before the activation; (B, 3, H, W) to (B, 1280)."""
    strided = (2, 4, 7, 13)
    x = F.hardswish(_norm(state, "features.0.1", _conv(state, "features.0.0", images, 2)))
    for index in range(1, 16):
        name, stride, y = f"features.{index}.conv", 2 if index in strided else 1, x
        act: Activation = F.hardswish if index >= 7 else F.relu
        if index == 1:
            y = act(_norm(state, f"{name}.1", _conv(state, f"{name}.0", y, stride)))
            y = _norm(state, f"{name}.5", _conv(state, f"{name}.4", y))
        else:
            y = act(_norm(state, f"{name}.1", _conv(state, f"{name}.0", y)))
            y = _norm(state, f"{name}.4", _conv(state, f"{name}.3", y, stride))
            if f"{name}.5.fc.0.weight" in state:
                gate = F.relu(F.linear(y.mean((2, 3)), state[f"{name}.5.fc.0.weight"], state[f"{name}.5.fc.0.bias"]))
                gate = F.hardsigmoid(F.linear(gate, state[f"{name}.5.fc.2.weight"], state[f"{name}.5.fc.2.bias"]))
                y = y * gate[:, :, None, None]
            y = _norm(state, f"{name}.8", _conv(state, f"{name}.7", act(y)))
        x = x + y if stride == 1 and x.shape[1] == y.shape[1] else y
    x = F.hardswish(_norm(state, "conv.1", _conv(state, "conv.0", x))).mean((2, 3))
    return F.hardswish(F.linear(x, state["classifier.0.weight"], state["classifier.0.bias"]))


def seed_efficientnet(state: State, images: Tensor, *, stages: tuple[int, ...], last: tuple[int, int]) -> Tensor:
    """SEED's EfficientNet, eps 1e-3, padding as computed once for its nominal size; (B, 3, H, W) to (B, 1280).

    Args:
        state: Its tensors.
        images: Images of any size.
        stages: Blocks of each stage.
        last: Padding before and after in the last strided convolution, which is where B0 and B1 differ.
    """
    pads = {1: (0, 1), 2: (1, 2), 3: (0, 1), 5: last}  # by the stage that they open

    def norm(name: str, x: Tensor) -> Tensor:
        return _norm(state, name, x, eps=1e-3)

    x = F.silu(norm("_bn0", _conv(state, "_conv_stem", F.pad(images, (0, 1, 0, 1)), 2, padding=0)))
    index = 0
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            name, y = f"_blocks.{index}", x
            if stage > 0:
                y = F.silu(norm(f"{name}._bn0", _conv(state, f"{name}._expand_conv", y)))
            if stage in pads and block == 0:
                before, after = pads[stage]
                y = _conv(state, f"{name}._depthwise_conv", F.pad(y, (before, after) * 2), 2, padding=0)
            else:
                y = _conv(state, f"{name}._depthwise_conv", y)
            y = F.silu(norm(f"{name}._bn1", y))
            gate = F.silu(_conv(state, f"{name}._se_reduce", y.mean((2, 3), keepdim=True)))
            y = y * _conv(state, f"{name}._se_expand", gate).sigmoid()
            y = norm(f"{name}._bn2", _conv(state, f"{name}._project_conv", y))
            x = x + y if x.shape == y.shape else y
            index += 1
    return F.silu(norm("_bn1", _conv(state, "_conv_head", x))).mean((2, 3))


def vit(state: State, images: Tensor, *, resize: Callable[[Tensor, tuple[int, int]], Tensor]) -> Tensor:
    """The ViTs of DINO, iBOT, MSN and SSLight, eps 1e-6; (B, 3, H, W) to the class token (B, D).

    Args:
        state: Its tensors.
        images: Images of any size.
        resize: From positions (1, C, n, n) to (1, C, h, w) for another grid of patches.
    """
    weight = state["patch_embed.proj.weight"]
    x = F.conv2d(images, weight, state["patch_embed.proj.bias"], stride=weight.shape[-1])
    batch, width, rows, columns = x.shape
    positions = state["pos_embed"]
    side = int((positions.shape[1] - 1) ** 0.5)
    if (rows, columns) != (side, side):
        maps = positions[:, 1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
        maps = resize(maps, (rows, columns)).flatten(2).transpose(1, 2)
        positions = torch.cat((positions[:, :1], maps), 1)
    x = torch.cat((state["cls_token"].expand(batch, 1, width), x.flatten(2).transpose(1, 2)), 1) + positions
    heads, block = width // 64, 0
    while f"blocks.{block}.norm1.weight" in state:
        x = _vit_block(state, f"blocks.{block}", x, heads)
        block += 1
    return F.layer_norm(x, (width,), state["norm.weight"], state["norm.bias"], 1e-6)[:, 0]


def _vit_block(state: State, name: str, x: Tensor, heads: int) -> Tensor:
    def linear(part: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])

    def norm(part: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"], 1e-6)

    batch, tokens, width = x.shape
    query, key, value = linear("attn.qkv", norm("norm1", x)).reshape(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    weights = (query @ key.transpose(-2, -1) * (width // heads) ** -0.5).softmax(-1)
    x = x + linear("attn.proj", (weights @ value).transpose(1, 2).reshape(batch, tokens, width))
    return x + linear("mlp.fc2", F.gelu(linear("mlp.fc1", norm("norm2", x))))


def dino_positions(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """DINO's, iBOT's and SSLight's rule."""
    side = maps.shape[-1]
    scale = ((grid[0] + 0.1) / side, (grid[1] + 0.1) / side)
    return F.interpolate(maps, scale_factor=scale, mode="bicubic")


def msn_positions(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """MSN's rule; the sizes are ones at which its scale n / m gives n again."""
    side = maps.shape[-1]
    return F.interpolate(maps, scale_factor=(grid[0] / side, grid[1] / side), mode="bicubic")


def antialiased_positions(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """timm's rule, which a converted folder follows in plain timm."""
    return F.interpolate(maps, size=grid, mode="bicubic", antialias=True)


_POSITIONS = {"dino": dino_positions, "msn": msn_positions, "timm": antialiased_positions}


def reference(family: str, *, positions: str = "timm") -> Callable[[State, Tensor], Tensor]:
    """The network of a family.

    Args:
        family: Its name.
        positions: How ViTs resample positions for other sizes; a folder loaded by plain timm follows `timm`.
    """
    if family == "seed_efficientnet_b0":
        return lambda state, x: seed_efficientnet(state, x, stages=(1, 2, 2, 3, 3, 4, 1), last=(1, 2))
    if family == "seed_efficientnet_b1":
        return lambda state, x: seed_efficientnet(state, x, stages=(2, 3, 3, 4, 4, 5, 2), last=(2, 2))
    if family == "seed_mobilenetv3_large":
        return seed_mobilenetv3
    if "mnv2" in family:
        return mobilenetv2
    if "vit" in family:
        return lambda state, x: vit(state, x, resize=_POSITIONS[positions])
    return resnet
