"""Python and C++ that feed an OpenVINO file a picture."""

from lowzoo.export.artifacts import drawing
from lowzoo.export.artifacts.feeding import cpp_pixels, from_a_photo, outputs_comment, python_pixels, sides
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.zoo.resolve import Resolved


def openvino_snippet(resolved: Resolved, spec: ExportSpec) -> str:
    """Python, then C++; both ask for float32, in place of which OpenVINO takes bfloat16 where a CPU has it."""
    return f"# Python\n{_python(resolved, spec)}\n\n// C++\n{_cpp(resolved, spec)}"


def _python(resolved: Resolved, spec: ExportSpec) -> str:
    drawn = drawing.python(resolved) if from_a_photo(resolved) else "import numpy as np\n\n"
    names = ", ".join(f'found["{each.name}"]' for each in resolved.features) or f'found["{spec.output_name}"]'
    return (
        f"{drawn}{python_pixels(resolved, spec)}"
        "import openvino\n\n"
        'compiled = openvino.Core().compile_model(graph_file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})\n'
        "found = compiled(pixels)\n"
        f"given = {names}{outputs_comment(resolved)}"
    )


def _cpp(resolved: Resolved, spec: ExportSpec) -> str:
    kind, word = ("u8", "uint8_t") if spec.input == "image" else ("f32", "float")
    drawn = drawing.cpp(resolved) if from_a_photo(resolved) else ""
    names = [each.name for each in resolved.features] or [spec.output_name]
    read = "\n".join(f'const float* {name} = request.get_tensor("{name}").data<float>();' for name in names)
    return (
        f"{drawn}{cpp_pixels(resolved, spec)}"
        'auto compiled = ov::Core().compile_model(graphFile, "CPU", '
        "ov::hint::inference_precision(ov::element::f32));\n"
        "auto request = compiled.create_infer_request();\n"
        f"request.set_input_tensor(ov::Tensor(ov::element::{kind}, {{1, {sides(resolved, spec)}}}, pixels.data()));"
        f"  // {word}\n"
        f"request.infer();\n{read}{outputs_comment(resolved, '  //')}"
    )
