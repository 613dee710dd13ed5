"""What an ONNX file says about itself, and a real picture in the shape it takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.schema import ModelFile, ModelInput
from lowzoo.preprocess.input_facts import InputFacts, channels_last, checked

if TYPE_CHECKING:
    from lowzoo.preprocess.transform import InputSpec

IMAGENET: dict[str, tuple[float, ...]] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that loads.

    Args:
        path: Path of the file.
        input_name: Name of the graph's one input.
        input_type: As onnxruntime spells it, e.g. tensor(uint8).
        shape: Shape of the input; a dynamic batch is 1.
        metadata: Key and value pairs inside the file.
    """

    path: Path
    input_name: str
    input_type: str
    shape: tuple[int, int, int, int]
    metadata: dict[str, str]

    @property
    def pixels_last(self) -> bool:
        """Whether the input is (B, H, W, C) and not (B, C, H, W)."""
        return bool(channels_last(self.shape, _said(self, "input").get("layout")))

    def facts(self) -> ModelFile:
        """Identify the file."""
        return identify(self.path, self.metadata)

    def input_facts(self, content: str) -> ModelInput:
        """Describe what it is fed."""
        return ModelInput(name=self.input_name, type=self.input_type, shape=self.shape, content=content)


def identify(path: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> ModelFile:
    """Identify a file, with its weights where those lie beside it, by what its metadata say where it has any."""
    from lowzoo.export.artifacts.places import digest_of, size_of

    return ModelFile(
        file=path.name,
        sha256=digest_of(path),
        size_bytes=size_of(path),
        name=metadata.get("lowzoo.model"),
        revision=metadata.get("lowzoo.revision"),
        precision=metadata.get("lowzoo.precision"),
    )


def identify_other(path: Path) -> ModelFile:
    """Identify a file of another format than ONNX, by what it says of itself where its runtime is there to read it."""
    from lowzoo.export.formats import format_of

    kind = format_of(path)
    return identify(path, kind.notes(path) if kind else {})


def open_onnx(path: Path) -> OnnxFile:
    """Load an ONNX file and find out how to feed it.

    Raises:
        LowzooError: No such file, no ONNX file or a truncated one, or not one picture as its only input.
    """
    import onnxruntime

    if not path.is_file():
        raise LowzooError(f"{path} does not exist" if not path.exists() else f"{path} is no file", "Name an ONNX file")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what is wrong is raised, and said once
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure, without a common base
        reason = " ".join(str(error).rpartition("failed:")[2].split()).rstrip(".")[:160]
        raise LowzooError(f"{path} is no ONNX file that onnxruntime can load ({reason})", "Export it again") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
        found = ", ".join(f"{node.name}: {node.type} {node.shape}" for node in inputs) or "none"
        raise LowzooError(f"{path} does not take one picture (inputs: {found})", "Time a file of `lowzoo export`")
    batch, *sides = inputs[0].shape
    if not all(isinstance(side, int) for side in sides):
        raise LowzooError(
            f"the input of {path} has no fixed size of a picture ({inputs[0].shape})",
            "Export it with a fixed size",
        )
    shape = (batch if isinstance(batch, int) else 1, sides[0], sides[1], sides[2])
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    file = OnnxFile(path, inputs[0].name, inputs[0].type, shape, metadata)
    if channels_last(shape, _said(file, "input").get("layout")) is None:
        raise LowzooError(
            f"the input of {path} does not tell its channels from its sides ({inputs[0].shape})",
            "Time a file of `lowzoo export`",
        )
    return file


def real_input(file: OnnxFile) -> tuple[NDArray[Any], str]:
    """Give a demonstration photograph in the shape and type that the file takes, and its name.

    Raises:
        LowzooError: The file describes its preprocessing in a way that nobody can follow.
    """
    return _fed(preparation_of(file), file.shape, np.dtype(_TYPES[file.input_type]), last=file.pixels_last)


def picture(
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    prepared: "InputSpec | None" = None,
) -> tuple[NDArray[Any], str]:
    """Give a demonstration photograph as a model's input, and its name.

    Args:
        shape: (B, H, W, C) or (B, C, H, W).
        dtype: uint8 gets the pixels, a float type the normalised ones.
        prepared: How the network's pictures are prepared; of a file that does not say it, ImageNet's usual way.
    """
    last = bool(channels_last(shape))
    return _fed(prepared or _usual(*_chw(shape, last)), shape, dtype, last=last)


def _fed(
    spec: "InputSpec", shape: tuple[int, int, int, int], dtype: np.dtype[Any], *, last: bool
) -> tuple[NDArray[Any], str]:
    from lowzoo.data.pixels.channels import of_colours
    from lowzoo.data.pixels.decode import decode_rgb
    from lowzoo.data.stores.samples import demonstration_photos
    from lowzoo.preprocess.transform import preprocess, to_uint8_input

    name, data = demonstration_photos()[0]
    image = of_colours(decode_rgb(data, name), spec.input_size[0])
    if dtype == np.uint8:
        pixels = to_uint8_input(image, spec)
        row = pixels if last else pixels.transpose(2, 0, 1)
    else:
        planes = preprocess(image, spec).numpy()
        row = planes.transpose(1, 2, 0) if last else planes
    return np.ascontiguousarray(np.repeat(row[None], shape[0], 0).astype(dtype)), name


def _chw(shape: tuple[int, int, int, int], last: bool) -> tuple[int, int, int]:
    return (shape[3], shape[1], shape[2]) if last else (shape[1], shape[2], shape[3])


def _usual(channels: int, height: int, width: int) -> InputFacts:
    """ImageNet's normalisation of RGB, values around 0 of other channels; as much of a picture as fits."""
    mean, std = (IMAGENET["mean"], IMAGENET["std"]) if channels == 3 else ((0.5,) * channels, (0.25,) * channels)
    return InputFacts((channels, height, width), mean, std, "bicubic", 1.0)


def preparation_of(file: OnnxFile) -> InputFacts:
    """How its pictures are prepared, as the file says; what it leaves open is the usual.

    Raises:
        LowzooError: It says something that nobody can follow.
    """
    usual = _usual(*_chw(file.shape, file.pixels_last))
    said = _said(file, "preprocessing")
    try:
        mean, std = (tuple(map(float, said.get(key, getattr(usual, key)))) for key in ("mean", "std"))
        filter_ = dict(said.get("resize", {})).get("interpolation", usual.interpolation)
        crop_pct, mode = said.get("crop_pct", usual.crop_pct), said.get("crop_mode", usual.crop_mode)
        return checked(InputFacts(usual.input_size, mean, std, filter_, crop_pct, mode), str(file.path))
    except (LowzooError, ValueError, TypeError) as error:
        reason = error.message if isinstance(error, LowzooError) else error
        raise LowzooError(
            f"the preprocessing inside {file.path} cannot be read ({reason})", "Export it again"
        ) from error


def _said(file: OnnxFile, key: str) -> dict[str, Any]:
    """A piece of metadata that is JSON; empty if there is none."""
    try:
        value = json.loads(file.metadata.get(f"lowzoo.{key}", "{}"))
    except ValueError as error:
        raise LowzooError(f"the {key} inside {file.path} cannot be read ({error})", "Export it again") from error
    if not isinstance(value, dict):
        raise LowzooError(f"the {key} inside {file.path} cannot be read ({value!r})", "Export it again")
    return value
