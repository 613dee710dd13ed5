"""The papers' architectures: parameters and levels as detectron2 has them, counted from its public configuration."""

from itertools import pairwise

import pytest
import timm

from lowzoo.base.errors import LowzooError
from lowzoo.detection.network.detector import Backbone, Detector, parameters_by_part
from lowzoo.train.detection.config import PRESETS, kind_of, preset_fields

CLASSES = 80


def _conv(i: int, o: int, side: int = 1, bias: bool = True, groups: int = 1) -> int:
    return i // groups * o * side * side + bias * o


def _resnet(blocks: list[int], bottleneck: bool, stages: int = 4) -> int:
    """build_resnet_backbone with NORM SyncBN: convolutions without biases, two numbers a channel for each norm."""
    total, width = _conv(3, 64, 7, bias=False) + 2 * 64, 64
    for stage, count in enumerate(blocks[:stages]):
        inner = 64 * 2**stage
        outer = inner * 4 if bottleneck else inner
        for number in range(count):
            if bottleneck:
                total += _conv(width, inner, bias=False) + _conv(inner, inner, 3, bias=False)
                total += _conv(inner, outer, bias=False) + 2 * (2 * inner + outer)
            else:
                total += _conv(width, inner, 3, bias=False) + _conv(inner, inner, 3, bias=False) + 4 * inner
            if number == 0 and width != outer:
                total += _conv(width, outer, bias=False) + 2 * outer
            width = outer
    return total


def _mobilenetv2() -> int:
    """torchvision's `features`, the convolution to 1280 channels included, as SSLight's stages hold them."""
    total, width = _conv(3, 32, 3, bias=False) + 64, 32
    for expand, outer, count in [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]:
        for _ in range(count):
            inner = width * expand
            total += (_conv(width, inner, bias=False) + 2 * inner) * (expand > 1)
            total += _conv(inner, inner, 3, bias=False, groups=inner) + 2 * inner
            total += _conv(inner, outer, bias=False) + 2 * outer
            width = outer
    return total + _conv(320, 1280, bias=False) + 2 * 1280


def _fpn(widths: list[int]) -> int:
    """FPN with NORM "": a lateral and an output convolution a level, both with biases; p6 is pooled."""
    return sum(_conv(width, 256) + _conv(256, 256, 3) for width in widths)


def _rpn(width: int, anchors: int) -> int:
    return _conv(width, width, 3) + _conv(width, anchors) + _conv(width, 4 * anchors)


def _box_head(width: int, hidden: int) -> int:
    """Two layers on 7 x 7, then the classes with the background, and a box for each class but that."""
    layers = sum(_conv(a, b) for a, b in pairwise([width * 49, hidden, hidden]))
    return layers + _predictor(hidden)


def _predictor(width: int) -> int:
    return _conv(width, CLASSES + 1) + _conv(width, 4 * CLASSES)


def _mask_head(width: int, convs: int) -> int:
    return convs * _conv(256, 256, 3) + (width * 256 * 4 + 256) + _conv(256, CLASSES)


def _res5(blocks: list[int], bottleneck: bool) -> int:
    return _resnet(blocks, bottleneck) - _resnet(blocks, bottleneck, 3)


R18, R34, R50 = ([2, 2, 2, 2], False), ([3, 4, 6, 3], False), ([3, 4, 6, 3], True)
FPN_LEVELS = ["p2", "p3", "p4", "p5", "p6"]
# (preset, architecture, parts, total, levels)
CASES = {
    "fpn_resnet18": (
        "sslight_fpn_1x",
        "resnet18",
        (_resnet(*R18), _fpn([64, 128, 256, 512]), _rpn(256, 3), _box_head(256, 1024), _mask_head(256, 4)),
        31_327_536,
        FPN_LEVELS,
    ),
    "fpn_resnet34": (
        "sslight_fpn_2x",
        "resnet34",
        (_resnet(*R34), _fpn([64, 128, 256, 512]), _rpn(256, 3), _box_head(256, 1024), _mask_head(256, 4)),
        41_435_696,
        FPN_LEVELS,
    ),
    "fpn_resnet50": (
        "seed_fpn",
        "resnet50",
        (_resnet(*R50), _fpn([256, 512, 1024, 2048]), _rpn(256, 3), _box_head(256, 1024), _mask_head(256, 4)),
        44_396_336,
        FPN_LEVELS,
    ),
    "fpn_mobilenetv2": (
        "sslight_fpn_1x",
        "mobilenetv2_100",
        (_mobilenetv2(), _fpn([96, 1280]), _rpn(256, 9), _box_head(256, 1024), _mask_head(256, 4)),
        21_308_430,
        ["p4", "p5", "p6"],
    ),
    "voc_mobilenetv2": (
        "sslight_voc_fpn",
        "mobilenetv2_100",
        (_mobilenetv2(), _fpn([96, 1280]), _rpn(256, 9), _box_head(256, 1024), _mask_head(256, 4)),
        21_308_430,
        ["p4", "p5", "p6"],
    ),
    "c4_resnet18": (
        "sslight_c4",
        "resnet18",
        (_resnet(*R18, 3), 0, _rpn(256, 15), _res5(*R18) + 2 * 512 + _predictor(512), _mask_head(512, 0)),
        12_537_708,
        ["p4"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_parameters_and_levels_are_detectron2s(name):
    preset, architecture, parts, total, levels = CASES[name]
    network = timm.create_model(architecture, num_classes=0)
    fields = preset_fields(preset, kind_of(network))
    from lowzoo.detection.network.shape import DetectorShape

    shape = DetectorShape.model_validate(fields["network"])
    detector = Detector(Backbone(network, architecture, "", architecture), shape, CLASSES, masks=True)
    assert tuple(parameters_by_part(detector).values()) == parts
    assert sum(each.numel() for each in detector.parameters()) == total == sum(parts)
    assert list(detector.levels) == levels
    assert [2 ** int(level[1:]) for level in levels] == list(detector.levels.values())


def test_what_the_presets_say_of_training():
    one, two = preset_fields("sslight_fpn_1x", ""), preset_fields("sslight_fpn_2x", "")
    assert (one["steps"], one["milestones"]) == (90000, [60000, 80000])
    assert (two["steps"], two["milestones"]) == (180000, [120000, 160000])
    assert (one["batch_size"], one["learning_rate"], one["warmup"]) == (16, 0.02, 1000)
    assert one["train_sizes"] == [640, 672, 704, 736, 768, 800]
    assert one["network"]["post_nms"] == [1000, 1000]
    assert preset_fields("sslight_fpn_1x", "mobilenet")["network"]["post_nms"] == [2000, 1000]
    assert preset_fields("sslight_c4", "")["precise_bn"] == 200
    voc = preset_fields("sslight_voc_fpn", "")
    assert (voc["steps"], voc["milestones"], voc["warmup"]) == (24000, [18000, 22000], 200)
    assert preset_fields("seed_fpn", "") | {"preset": "", "summary": "", "source": ""} == one | {
        "preset": "",
        "summary": "",
        "source": "",
    }


def test_every_preset_can_be_read_for_every_kind_of_network():
    for preset in PRESETS:
        for kind in ("", "mobilenet", "vit"):
            assert preset_fields(preset, kind)["summary"]
    with pytest.raises(LowzooError, match="near: sslight_fpn_1x"):
        preset_fields("sslight_fpn_1", "")


def test_c4_needs_a_resnet():
    from lowzoo.detection.network.shape import DetectorShape

    network = timm.create_model("mobilenetv2_050", num_classes=0)
    shape = DetectorShape.model_validate(preset_fields("sslight_c4", "")["network"])
    with pytest.raises(LowzooError, match="last stage of a ResNet"):
        Detector(Backbone(network, "mobilenetv2_050", "", "mobilenetv2_050"), shape, 3, masks=False)
