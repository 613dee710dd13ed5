"""Core ML: an ML program by torch.export, in an `.mlpackage` folder.

`torch.jit.trace` of a ViT fails in coremltools 9 with numpy 2.4 (coremltools#2633); `torch.export`, decomposed as far
as coremltools needs it, does not. The normalisation is a layer of the graph because an image input has one scale for
all three channels, which cannot be exact.
"""

import errno
import importlib.util
import json
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.base.quiet import quiet
from lowzoo.base.scratch import scratch
from lowzoo.export.artifacts.float32_left import Float32Left
from lowzoo.export.artifacts.metadata import UNCHECKED, input_facts, metadata, output_meanings, output_names
from lowzoo.export.artifacts.seal import SEAL, UNSEALED
from lowzoo.export.formats.coreml.operators import for_coreml
from lowzoo.export.mil import MODEL_FILE, MilError, constants_of, load_program, read_specification
from lowzoo.export.network.reasons import plain_reason
from lowzoo.export.network.trace import traced
from lowzoo.export.parity.checker import ParityChecker
from lowzoo.export.parity.runnable import Array, Runnable
from lowzoo.export.spec.bounds import ParityError
from lowzoo.export.spec.spec import ExportSpec
from lowzoo.zoo.resolve import Resolved

_LABEL = "classLabel"
CORE_ML_KEEPS = "coremltools keeps what float16 cannot hold"
# Below this number of values a weight costs accuracy and saves nothing.
_LEAST_COMPRESSED = 2048


def write_coreml(
    module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, checker: ParityChecker
) -> tuple[str, ...]:
    """Convert the module and write the package.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: Shape, precision and deployment target.
        path: An empty folder to write into.
        checker: Not needed: no search is made.

    Returns:
        Warnings, one sentence each.

    Raises:
        LowzooError: coremltools is not there or cannot convert the network.
    """
    try:
        with quiet():
            import coremltools
    except ImportError as error:
        raise LowzooError(
            "coremltools is not installed, which has no wheels for this system", "Export to Core ML on macOS or Linux"
        ) from error
    if spec.precision.startswith("palette") and importlib.util.find_spec("sklearn") is None:
        raise LowzooError("scikit-learn finds the palettes, and is not installed", "Install lowzoo[coreml]")
    channels = resolved.input_size[0]
    if spec.input == "image" and channels not in (1, 3):
        raise LowzooError(
            f"a Core ML image has 1 or 3 channels, and {resolved.name} takes {channels}", "Use --input tensor"
        )
    with scratch():
        try:
            with quiet():
                package = _compressed(coremltools, _convert(coremltools, module, resolved, spec), spec)
                _describe(package, resolved, spec)
                left = Float32Left.among(constants_of(package.get_spec())) if spec.precision == "fp16" else None
                if left:
                    package.user_defined_metadata.update(left.note)
        except Exception as error:  # a converter pass may raise anything
            reason = plain_reason(error)
            raise LowzooError(
                f"{resolved.name} cannot be exported to Core ML ({reason})",
                "Name another model or format; --debug shows all",
            ) from error
        _save(package, path)
    tidy(path)
    return left.sentences(CORE_ML_KEEPS) if left else ()


def open_coreml(path: Path) -> Runnable:
    """Load a package: in Core ML itself on a Mac, elsewhere in the reference interpreter.

    Raises:
        ParityError: It is damaged, or takes something else than one picture.
        UnknownOperatorError: It uses an operator that the interpreter does not know.
    """
    on_mac = sys.platform == "darwin"
    program = None if on_mac else load_program(path)
    description = (program.specification if program else read_specification(path)[0]).description
    if len(description.input) != 1:
        raise ParityError(f"{path} takes {len(description.input)} inputs", "Export it again")
    taken = description.input[0]
    pixels, shape = _taken(taken)
    if len(shape) != 4:
        raise ParityError(f"{path} does not take one picture, but {list(shape)}", "Export it again")
    said = dict(description.metadata.userDefined)
    results = [each.name for each in description.output if each.name != description.predictedFeatureName]
    outputs = [description.predictedProbabilitiesName] if description.predictedFeatureName else results

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        if program is None:
            return _by_core_ml(path, taken.name, outputs, pixels, rows, json.loads(said.get("lowzoo.classes", "[]")))
        found = program.run(**{taken.name: torch.from_numpy(np.ascontiguousarray(rows, np.float32))})
        # The program calls a classifier's probabilities otherwise than the description does.
        named = [name for name in program.outputs if name != description.predictedFeatureName]
        return tuple(found[name].float().numpy() for name in named)

    return Runnable(
        path=path,
        format="coreml",
        engine="Core ML" if on_mac else f"lowzoo's MIL interpreter (torch {torch.__version__})",
        shape=(shape[0], shape[1], shape[2], shape[3]),
        dtype=np.dtype(np.float32),
        pixels=pixels,
        metadata=said,
        run=run,
        probabilities=bool(description.predictedFeatureName),
    )


def unchecked_coreml(module: nn.Module, resolved: Resolved, spec: ExportSpec, path: Path, reason: str) -> Runnable:
    """Mark a package that nothing here can run, and give what was handed to coremltools in its place, run by PyTorch.

    Args:
        module: What `exported_module` gave.
        resolved: The network it holds.
        spec: What the package was written with.
        path: Path of the package.
        reason: Why it cannot be run, for its metadata.
    """
    specification, _ = read_specification(path)
    specification.description.metadata.userDefined[UNCHECKED] = reason
    specification.description.metadata.userDefined[SEAL] = UNSEALED  # what was sealed before is marked now
    (path / MODEL_FILE).write_bytes(specification.SerializeToString(deterministic=True))
    shape = _shape(resolved, spec)
    graph = for_coreml(traced(module, torch.zeros(shape))).module()

    def run(rows: NDArray[Any]) -> tuple[Array, ...]:
        with torch.no_grad():
            found = graph(torch.from_numpy(np.ascontiguousarray(rows, np.float32)))
        return tuple(each.float().numpy() for each in (found if isinstance(found, tuple) else (found,)))

    return Runnable(
        path=path,
        format="coreml",
        engine=f"PyTorch {torch.__version__}, as the graph was before coremltools: the file itself was NOT run",
        shape=shape,
        dtype=np.dtype(np.float32),
        pixels=spec.input == "image",
        metadata=dict(specification.description.metadata.userDefined),
        run=run,
        probabilities=bool(spec.classes),
    )


def _taken(taken: Any) -> tuple[bool, tuple[int, ...]]:
    """Whether an input is an image, and its shape."""
    if taken.type.WhichOneof("Type") != "imageType":
        return False, tuple(taken.type.multiArrayType.shape)
    image = taken.type.imageType
    return True, (1, 1 if image.colorSpace == image.GRAYSCALE else 3, image.height, image.width)


def _shape(resolved: Resolved, spec: ExportSpec) -> tuple[int, int, int, int]:
    channels, height, width = resolved.input_size
    return (spec.batch if isinstance(spec.batch, int) else 1, channels, height, width)


def notes_of_coreml(path: Path) -> dict[str, str]:
    """What a package says of itself."""
    try:
        return dict(read_specification(path)[0].description.metadata.userDefined)
    except MilError:
        return {}


def _convert(coremltools: Any, module: nn.Module, resolved: Resolved, spec: ExportSpec) -> Any:
    shape = _shape(resolved, spec)
    channels = shape[1]
    program = for_coreml(traced(module, torch.zeros(shape)))
    if spec.input == "image":
        layouts, bias = coremltools.colorlayout, 0.0 if channels == 1 else [0.0] * channels
        taken = coremltools.ImageType(
            name=spec.input_name,
            shape=shape,
            color_layout=layouts.GRAYSCALE if channels == 1 else layouts.RGB,
            scale=1.0,
            bias=bias,
        )
    else:
        taken = coremltools.TensorType(name=spec.input_name, shape=shape, dtype=np.float32)
    half = spec.precision == "fp16"
    passes = coremltools.PassPipeline.DEFAULT
    # It makes the normalisation a batch norm whose epsilon of 1e-5 stands beside a variance of 1: features are then
    # off by up to 2e-4 (MobileNetV3-Large), twenty times the error of everything else.
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    return coremltools.convert(
        program,
        convert_to="mlprogram",
        inputs=[taken],
        outputs=[coremltools.TensorType(name=name, dtype=np.float32) for name in output_names(resolved, spec)],
        classifier_config=coremltools.ClassifierConfig(list(spec.classes), _LABEL) if spec.classes else None,
        minimum_deployment_target=getattr(coremltools.target, spec.deployment_target),
        compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
        skip_model_load=True,
        pass_pipeline=passes,
    )


def _compressed(coremltools: Any, package: Any, spec: ExportSpec) -> Any:
    """Store the weights in fewer bits; the arithmetic stays float."""
    optimize = coremltools.optimize.coreml
    if spec.precision == "int8":
        settings = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=_LEAST_COMPRESSED)
        return optimize.linear_quantize_weights(package, optimize.OptimizationConfig(global_config=settings))
    if spec.precision.startswith("palette"):
        bits = int(spec.precision.removeprefix("palette"))
        settings = optimize.OpPalettizerConfig(mode="kmeans", nbits=bits, weight_threshold=_LEAST_COMPRESSED)
        return optimize.palettize_weights(package, optimize.OptimizationConfig(global_config=settings))
    return package


def _describe(package: Any, resolved: Resolved, spec: ExportSpec) -> None:
    for key in list(package.user_defined_metadata):
        del package.user_defined_metadata[key]
    package.user_defined_metadata.update(metadata(resolved, spec))
    meanings = output_meanings(resolved, spec)
    package.short_description = f"{resolved.name}: {'; '.join(meanings.values())}"
    package.author = "lowzoo"
    package.license = resolved.license
    package.version = resolved.revision
    package.input_description[spec.input_name] = input_facts(spec, resolved)["values"]
    if not spec.classes:
        for name, meaning in meanings.items():
            package.output_description[name] = meaning


def _save(package: Any, path: Path) -> None:
    try:
        with quiet():
            package.save(str(path))
    except shutil.Error as error:
        # It copies file by file and lists what each said; the number is in the words alone.
        full = f"[Errno {errno.ENOSPC}]" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, "no space left on device" if full else str(error)) from error


def tidy(path: Path) -> None:
    """Make the package a pure function of the model: coremltools names its parts at random, and adds notes."""
    for extra in path.glob("executorch_*.json"):
        extra.unlink()
    manifest = json.loads((path / "Manifest.json").read_text())
    names = {
        old: str(uuid.uuid5(uuid.NAMESPACE_URL, f"lowzoo:{item['path']}")).upper()
        for old, item in manifest["itemInfoEntries"].items()
    }
    manifest["itemInfoEntries"] = {names[old]: item for old, item in sorted(manifest["itemInfoEntries"].items())}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    (path / "Manifest.json").write_text(json.dumps(manifest, indent=4, sort_keys=True))


def _by_core_ml(
    path: Path, name: str, outputs: list[str], pixels: bool, rows: NDArray[Any], classes: list[str]
) -> tuple[Array, ...]:
    """Predict on a Mac; an image goes in as an image, as a phone's camera gives it."""
    import coremltools
    from PIL import Image

    model = coremltools.models.MLModel(str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY)
    fed: Any = rows
    if pixels:
        picture = rows[0].transpose(1, 2, 0).astype(np.uint8)
        fed = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    given = model.predict({name: fed})
    found = [[[given[each][label] for label in classes]] if classes else given[each] for each in outputs]
    return tuple(np.asarray(each, np.float32) for each in found)
