"""What an ONNX file says about itself, and a real picture in the shape it takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.bench.schema import ModelFile, ModelInput
from lowzoo.errors import LowzooError

IMAGENET: dict[str, tuple[float, ...]] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that loads.

    Args:
        path: Of it.
        input_name: Of its one input.
        input_type: As onnxruntime spells it, e.g. tensor(uint8).
        shape: Of the input; a dynamic batch is 1.
        metadata: Key and value pairs inside the file.
    """

    path: Path
    input_name: str
    input_type: str
    shape: tuple[int, int, int, int]
    metadata: dict[str, str]

    @property
    def pixels_last(self) -> bool:
        """Whether the input is (B, H, W, 3) and not (B, 3, H, W)."""
        return self.shape[3] == 3

    def facts(self) -> ModelFile:
        """Identify the file."""
        return identify(self.path, self.metadata)

    def input_facts(self, content: str) -> ModelInput:
        """Describe what it is fed."""
        return ModelInput(name=self.input_name, type=self.input_type, shape=self.shape, content=content)


def identify(path: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> ModelFile:
    """Identify a file, with its weights where those lie beside it, by what its metadata say where it has any."""
    from lowzoo.export.places import digest_of, size_of

    return ModelFile(
        file=path.name,
        sha256=digest_of(path),
        size_bytes=size_of(path),
        name=metadata.get("lowzoo.model"),
        revision=metadata.get("lowzoo.revision"),
        precision=metadata.get("lowzoo.precision"),
    )


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
    if not all(isinstance(side, int) for side in sides) or 3 not in (sides[0], sides[2]):
        raise LowzooError(
            f"the input of {path} has no fixed size of an RGB picture ({inputs[0].shape})",
            "Export it with a fixed size",
        )
    shape = (batch if isinstance(batch, int) else 1, sides[0], sides[1], sides[2])
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return OnnxFile(path, inputs[0].name, inputs[0].type, shape, metadata)


def real_input(file: OnnxFile) -> tuple[NDArray[Any], str]:
    """Give a demonstration photograph in the shape and type that the file takes, and its name.

    Raises:
        LowzooError: The file describes its preprocessing in a way that nobody can follow.
    """
    mean, std = _normalisation(file)
    return picture(file.shape, np.dtype(_TYPES[file.input_type]), mean, std)


def picture(
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    mean: tuple[float, ...] = IMAGENET["mean"],
    std: tuple[float, ...] = IMAGENET["std"],
) -> tuple[NDArray[Any], str]:
    """Give a demonstration photograph as a model's input, and its name.

    Args:
        shape: (B, H, W, 3) or (B, 3, H, W).
        dtype: uint8 gets the pixels, a float type the normalised ones.
        mean: Of the normalisation, in [0, 1].
        std: Of the normalisation, in [0, 1].
    """
    from lowzoo.data.decode import decode_rgb
    from lowzoo.data.samples import demonstration_photos
    from lowzoo.evaluate.preprocess import Preprocessing, preprocess, to_uint8_input

    name, data = demonstration_photos()[0]
    batch, *sides = shape
    last = sides[2] == 3
    height, width = sides[:2] if last else sides[1:]
    spec = Preprocessing((3, height, width), mean, std, interpolation="bicubic", crop_pct=1.0)
    image = decode_rgb(data, name)
    if dtype == np.uint8:
        pixels = to_uint8_input(image, spec)
        row = pixels if last else pixels.transpose(2, 0, 1)
    else:
        planes = preprocess(image, spec).numpy()
        row = planes.transpose(1, 2, 0) if last else planes
    return np.ascontiguousarray(np.repeat(row[None], batch, 0).astype(dtype)), name


def _normalisation(file: OnnxFile) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel: what the file says, else ImageNet's."""
    try:
        said: dict[str, Any] = IMAGENET | json.loads(file.metadata.get("lowzoo.preprocessing", "{}"))
        mean, std = (tuple(float(number) for number in said[key]) for key in ("mean", "std"))
    except (ValueError, TypeError) as error:
        raise LowzooError(
            f"the preprocessing inside {file.path} cannot be read ({error})", "Export it again"
        ) from error
    if len(mean) != 3 or len(std) != 3 or 0 in std:
        raise LowzooError(f"the preprocessing inside {file.path} is not of 3 channels", "Export it again")
    return mean, std
