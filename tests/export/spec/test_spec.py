"""What may be asked of an export, and what exporting may use."""

import ast
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.export import ExportSpec, MaxLoss

ROOT = Path(__file__).parents[3]


def test_defaults_suit_a_phone():
    spec = ExportSpec()
    assert (spec.format, spec.precision, spec.batch, spec.input, spec.input_name) == (
        "onnx",
        "fp32",
        1,
        "image",
        "image",
    )
    assert ExportSpec(input="tensor").input_name == "input"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"format": "tflite"}, "unknown format 'tflite'"),
        ({"precision": "palette6"}, "onnx cannot be exported in precision 'palette6'"),
        ({"format": "coreml", "precision": "int4"}, "coreml cannot be exported in precision 'int4'"),
        ({"format": "coreml", "batch": "dynamic"}, "coreml is exported with a fixed batch"),
        ({"format": "coreml", "batch": 2}, "a Core ML image is one image"),
        ({"format": "executorch", "precision": "palette6"}, "executorch cannot be exported in precision 'palette6'"),
        ({"precision": "int8-dynamic"}, "onnx cannot be exported in precision 'int8-dynamic'"),
        ({"target": "coreml"}, "--for coreml is of ExecuTorch's programs, and this is onnx"),
        ({"format": "coreml", "target": "coreml"}, "--for coreml is of ExecuTorch's programs, and this is coreml"),
        ({"format": "executorch", "target": "coreml", "precision": "int8-dynamic"}, "Core ML has no int8-dynamic"),
        ({"layout": "nwhc"}, "unknown layout 'nwhc'"),
        ({"target": "tpu"}, "unknown target 'tpu'"),
        ({"deployment_target": "iOS9"}, "unknown deployment target 'iOS9'"),
        ({"input": "video"}, "unknown input 'video'"),
        ({"batch": 0}, "a batch of 0 is impossible"),
        ({"batch": 5000}, "a batch of 5000 is impossible"),
        ({"batch": "many"}, "a batch of 'many' is impossible"),
        ({"opset": 17}, "opset 17 cannot be written"),
        ({"opset": 99}, "opset 99 cannot be written"),
    ],
)
def test_refusals(wrong, said):
    with pytest.raises(LowzooError, match=said) as refused:
        ExportSpec(**wrong)
    assert refused.value.remedy.startswith(("Use ", "Choose one of "))


@pytest.mark.parametrize("text", ["", "x", "-1", "101", "cosine:1.1", "cosine:", "knn:1", "1e3", "nan"])
def test_impossible_losses(text):
    with pytest.raises(LowzooError, match="is impossible"):
        MaxLoss.parse(text)


def test_losses():
    assert MaxLoss.parse("0.5") == MaxLoss(0.5)
    assert MaxLoss.parse("cosine:0.99") == MaxLoss(None, 0.99)


@pytest.mark.parametrize("room", ["export", "lowzoo/bench"])
def test_neither_room_needs_the_training_room(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.startswith(("lowzoo.train", "lowzoo.cli"))], file
