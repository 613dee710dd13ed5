"""What an artifact says about itself: which model it is and how to feed it."""

import json
import math

import lowzoo
from lowzoo.export.identity import identity
from lowzoo.export.spec import ExportSpec
from lowzoo.resolve import Resolved

# The file version (IR) that belongs to an operator set.
IR_OF_OPSET = {18: 8, 19: 9, 20: 9, 21: 10}
# The oldest onnxruntime on which files of an operator set were run: in float32, and in float16 or int8. Loading is not
# enough: 1.16 lacks the layer norm of float16 files, 1.19 the int8 products of operator set 21.
ONNXRUNTIME_OF_OPSET = {18: ("1.15", "1.17"), 19: ("1.16", "1.17"), 20: ("1.17", "1.17"), 21: ("1.18", "1.20")}


def metadata(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """Key and value pairs for the file; values of more than a word are JSON."""
    height, width = resolved.input_size[1:]
    preprocessing = {
        "colour": "RGB",
        "resize": {"shorter_side": shorter_side(resolved), "interpolation": resolved.interpolation},
        "center_crop": [height, width],
        "mean": resolved.mean,
        "std": resolved.std,
        "normalised_in_graph": spec.input == "image",
    }
    output = {"name": spec.output_name, "type": "float32", "layout": "BD", "meaning": output_meaning(spec)}
    said = {
        "lowzoo.version": lowzoo.__version__,
        "lowzoo.model": resolved.name,
        "lowzoo.revision": resolved.revision,
        "lowzoo.recipe": resolved.recipe,
        "lowzoo.license": resolved.license,
        "lowzoo.precision": spec.precision,
        "lowzoo.preprocessing": json.dumps(preprocessing),
        "lowzoo.input": json.dumps({"name": spec.input_name, **input_facts(spec)}),
        "lowzoo.output": json.dumps(output),
    }
    if spec.lossy:
        said["lowzoo.max_loss"] = str(spec.max_loss)
    if spec.classes:
        said["lowzoo.classes"] = json.dumps(spec.classes)
    said |= identity(resolved, spec)
    if spec.format == "onnx":
        said["lowzoo.min_onnxruntime"] = ONNXRUNTIME_OF_OPSET[spec.opset][spec.precision != "fp32"]
    return said


def shorter_side(resolved: Resolved) -> int:
    """What the shorter side is resized to before the crop, in pixels."""
    return math.floor(min(resolved.input_size[1:]) / resolved.crop_pct)


def input_facts(spec: ExportSpec) -> dict[str, str]:
    """Type, layout and values of the input."""
    if spec.input == "tensor":
        return {"type": "float32", "layout": "BCHW", "values": "RGB in 0 to 1, minus mean, divided by std"}
    values = "RGB in 0 to 255, after resize and centre crop"
    if spec.format == "coreml":
        return {"type": "image", "layout": "BCHW", "values": values}
    return {"type": "uint8", "layout": "BHWC" if spec.pixels_last else "BCHW", "values": values}


def output_meaning(spec: ExportSpec) -> str:
    """One line on what comes out."""
    return f"{spec.output_name}, one row an image"
