"""What may be asked of an export, and what exporting may use."""

import ast
from pathlib import Path

import pytest

from lowzoo.errors import LowzooError
from lowzoo.export import ExportSpec

ROOT = Path(__file__).parent.parent


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
        ({"format": "coreml"}, "'coreml' cannot be exported yet"),
        ({"format": "executorch"}, "'executorch' cannot be exported yet"),
        ({"format": "litert"}, "'litert' cannot be exported yet"),
        ({"format": "tflite"}, "unknown format 'tflite'"),
        ({"precision": "int8"}, "onnx cannot be exported in precision 'int8'"),
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
    assert refused.value.remedy.startswith("Use ")


@pytest.mark.parametrize("room", ["export", "lowzoo/bench"])
def test_neither_room_needs_the_training_room(room):
    files = sorted((ROOT / room).glob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.startswith(("lowzoo.train", "lowzoo.cli"))], file
