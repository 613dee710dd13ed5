"""What an artifact says about itself: which model it is and how to feed it."""

import dataclasses
import json
from importlib.metadata import version

from lowzoo.export.artifacts.identity import identity
from lowzoo.export.artifacts.seal import SEAL, UNSEALED
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.preprocess.framing import border_colour, by_shorter_side, may_have_border, target_size
from lowzoo.zoo.resolve import FeatureMap, Resolved

# Why nothing could run the file when it was written; absent from every other file.
UNCHECKED = "lowzoo.unchecked"
# The file version (IR) that belongs to an operator set.
IR_OF_OPSET = {18: 8, 19: 9, 20: 9, 21: 10}


def metadata(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """Key and value pairs for the file; values of more than a word are JSON."""
    preprocessing = {
        "colour": colour(resolved),
        "crop_mode": resolved.crop_mode,
        "crop_pct": resolved.crop_pct,
        "resize": {**resize_rule(resolved), "interpolation": resolved.interpolation},
        "center_crop": list(resolved.input_size[1:]),
        **({"border": list(border_colour(resolved))} if may_have_border(resolved) else {}),
        "mean": resolved.mean,
        "std": resolved.std,
        "normalised_in_graph": spec.input == "image",
    }
    said = {
        "lowzoo.version": version("lowzoo"),
        "lowzoo.model": resolved.name,
        "lowzoo.revision": resolved.revision,
        "lowzoo.recipe": resolved.recipe,
        "lowzoo.license": resolved.license,
        "lowzoo.precision": spec.precision,
        "lowzoo.preprocessing": json.dumps(preprocessing),
        "lowzoo.input": json.dumps({"name": spec.input_name, **input_facts(spec, resolved)}),
        **_outputs(resolved, spec),
    }
    if resolved.compatible is not None:
        space = resolved.compatible.as_dict() | {"normalised": "L2, in the graph", "similarity": "cosine"}
        said["lowzoo.compatible"] = json.dumps(space)
    if spec.lossy:
        said["lowzoo.max_loss"] = str(spec.max_loss)
    if spec.classes:
        said["lowzoo.classes"] = json.dumps(spec.classes)
    said |= {**identity(resolved, spec), SEAL: UNSEALED}
    return said | (spec.kind.call("remarks", spec) or {})


def resize_rule(resolved: Resolved) -> dict[str, int | str]:
    """What a picture is resized to before the crop, in pixels.

    `shorter_side` where that says it all; else `height` and `width` that the picture is made to "cover" or to "fit"
    into, keeping its proportions, or to "fill", not keeping them.
    """
    height, width = target_size(resolved)
    if by_shorter_side(resolved):
        return {"shorter_side": height}
    rule = {"center": "cover", "border": "fit", "squash": "fill"}[resolved.crop_mode]
    return {"rule": rule, "height": height, "width": width}


def colour(resolved: Resolved) -> str:
    """What the channels are: "RGB", "grey", or how many where nobody knows."""
    channels = resolved.input_size[0]
    return {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")


def input_facts(spec: ExportSpec, resolved: Resolved) -> dict[str, str]:
    """Type, layout and values of the input."""
    if spec.input == "tensor":
        values = f"{colour(resolved)} in 0 to 1, minus mean, divided by std"
        return {"type": "float32", "layout": "BCHW", "values": values}
    values = f"{colour(resolved)} in 0 to 255, after resize and centre crop"
    if not spec.kind.image_is_bytes:
        return {"type": "image", "layout": "BCHW", "values": values}
    return {"type": "uint8", "layout": "BHWC" if spec.pixels_last else "BCHW", "values": values}


def output_names(resolved: Resolved, spec: ExportSpec) -> list[str]:
    """Names of the graph's outputs, in their order."""
    return [each.name for each in resolved.features] or [spec.output_name]


def output_meanings(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """One line on what comes out of each output."""
    if resolved.compatible is not None:
        where = f"in the embedding space of {resolved.compatible}"
        return {spec.output_name: f"unit vectors {where}, one row an image"}
    if not resolved.features:
        return {spec.output_name: f"{spec.output_name}, one row an image"}
    return {each.name: f"feature map {each.index}, stride {each.stride}: {_shape(each)}" for each in resolved.features}


def _outputs(resolved: Resolved, spec: ExportSpec) -> dict[str, str]:
    """`lowzoo.output` of a file that gives features or scores, `lowzoo.outputs`, a list, of one that gives maps."""
    meanings = output_meanings(resolved, spec)
    if not resolved.features:
        output = {"name": spec.output_name, "type": "float32", "layout": "BD", "meaning": meanings[spec.output_name]}
        return {"lowzoo.output": json.dumps(output)}
    outputs = [
        {**dataclasses.asdict(each), "type": "float32", "layout": "BCHW", "meaning": meanings[each.name]}
        for each in resolved.features
    ]
    return {"lowzoo.outputs": json.dumps(outputs)}


def _shape(each: FeatureMap) -> str:
    return f"{each.channels} x {each.height} x {each.width} (channels x height x width)"
