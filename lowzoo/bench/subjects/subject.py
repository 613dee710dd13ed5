"""What is timed on this computer: a file or a network, how it is identified, and what it is fed."""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.base.lazy import resolved_place
from lowzoo.bench.engines import EngineFacts
from lowzoo.bench.engines.network_spec import network_spec_of, read_network_spec
from lowzoo.bench.results.schema import ModelFile, ModelInput
from lowzoo.bench.subjects.artifact import identify_other, open_onnx, picture, real_input
from lowzoo.preprocess.input_facts import channels_last
from lowzoo.zoo.hub_spec import is_hub_spec

_EXECUTORCH_TYPES = {0: np.uint8, 6: np.float32}


@dataclass(frozen=True)
class Subject:
    """What an engine opens and is fed.

    Args:
        model: A file's path, or a MODEL word for PyTorch.
        facts: Its identity.
        input: What it is fed, in words.
        pixels: What it is fed, (B, H, W, C) or (B, C, H, W).
        provider: The back end inside the engine, where the file names one of its own.
    """

    model: str
    facts: ModelFile
    input: ModelInput
    pixels: NDArray[Any]
    provider: str = ""

    def warnings(self) -> Iterator[str]:
        """What the subject makes different from one run of one picture."""
        if self.pixels.shape[0] != 1:
            yield f"the batch of the file is {self.pixels.shape[0]}, not 1: times are of a whole batch"


def subject_of(engine: EngineFacts, model: str) -> Subject:
    """Open what an engine is to run.

    Args:
        engine: Which.
        model: A file with the engine's suffix (any name for ONNX), or a MODEL word for PyTorch; see
            `lowzoo.bench.engines.network_spec`.

    Raises:
        LowzooError: The engine is not installed, or the model cannot be opened or fed.
    """
    engine.require()
    subject: Subject = resolved_place(engine.subject)(engine, model)
    return subject


def onnx_subject(_: EngineFacts, model: str) -> Subject:
    """An ONNX file, under whatever name."""
    path = Path(model)
    file = open_onnx(path)
    pixels, photo = real_input(file)
    return Subject(str(path.resolve()), file.facts(), file.input_facts(f"photograph {photo}"), pixels)


def executorch_subject(_: EngineFacts, model: str) -> Subject:
    """An ExecuTorch program, which may hand its network to Core ML."""
    from lowzoo.export.formats.executorch.coreml import hands_to_core_ml, runs_here

    path = _existing(model)
    core_ml = hands_to_core_ml(path)
    if core_ml and not runs_here():
        raise LowzooError(
            f"{path} is for Core ML, which the ExecuTorch of this system lacks",
            "Time it on a Mac, or export it without --for coreml",
        )
    return _fed(path, *_executorch(path), provider="Core ML" if core_ml else "")


def litert_subject(_: EngineFacts, model: str) -> Subject:
    """A LiteRT file."""
    path = _existing(model)
    return _fed(path, *_litert(path))


def file_subject(_: EngineFacts, model: str) -> Subject:
    """A file of any format, as the format's own loader describes its input; for engines that do not say more."""
    from lowzoo.export.checking import open_artifact

    path = Path(model)
    found = open_artifact(path)
    shape = (found.shape[0] or 1, *found.shape[1:])
    subject = _fed(path, "input", list(shape), np.dtype(np.uint8) if found.pixels else found.dtype)
    # Pixels may be floats of 0 to 255.
    said = subject.input.model_copy(update={"type": str(found.dtype)})
    return dataclasses.replace(subject, pixels=subject.pixels.astype(found.dtype), input=said)


def _existing(model: str) -> Path:
    path = Path(model)
    if not path.is_file():
        raise LowzooError(f"{path} does not exist" if not path.exists() else f"{path} is no file", "Name a file")
    return path


def _fed(path: Path, name: str, shape: list[int], dtype: np.dtype[Any], provider: str = "") -> Subject:
    if len(shape) != 4 or channels_last(shape) is None:
        raise LowzooError(f"{path} does not take one picture, but {list(shape)}", "Export it again")
    pixels, photo = picture((shape[0], shape[1], shape[2], shape[3]), dtype)
    said = ModelInput(name=name, type=str(dtype), shape=tuple(shape), content=f"photograph {photo}")
    return Subject(str(path.resolve()), identify_other(path), said, pixels, provider)


def network_subject(_: EngineFacts, model: str) -> Subject:
    """The network that a word means, for PyTorch; see `lowzoo.bench.engines.network_spec`."""
    from safetensors.torch import save

    from lowzoo.zoo.resolve import load_model

    word, size, pretrained = read_network_spec(model)
    resolved = load_model(word, image_size=size, pretrained=pretrained)
    channels, height, width = resolved.input_size
    shape = (1, channels, height, width)
    pixels, photo = picture(shape, np.dtype(np.float32), resolved)
    content = save({key: value.contiguous() for key, value in resolved.model.state_dict().items()})
    facts = ModelFile(
        file=resolved.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        name=resolved.name,
        revision=resolved.revision,
        precision="fp32",
    )
    said = ModelInput(name="x", type="float32", shape=shape, content=f"photograph {photo}, normalised beforehand")
    if is_hub_spec(word):  # the fresh processes build these weights, whatever a branch has moved to, from the cache
        model = network_spec_of(resolved.source, size=size, untrained=not pretrained)
    return Subject(model, facts, said, pixels)


def _executorch(path: Path) -> tuple[str, list[int], np.dtype[Any]]:
    from executorch.runtime import Runtime

    try:
        taken = Runtime.get().load_program(str(path)).load_method("forward").metadata.input_tensor_meta(0)
        return "input 0", list(taken.sizes()), np.dtype(_EXECUTORCH_TYPES[taken.dtype()])
    except Exception as error:  # the runtime raises what its C++ throws
        raise _unreadable(path, "ExecuTorch", error) from error


def _litert(path: Path) -> tuple[str, list[int], np.dtype[Any]]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        (taken,) = Interpreter(model_path=str(path)).get_input_details()
        return str(taken["name"]), [int(side) for side in taken["shape"]], np.dtype(taken["dtype"])
    except Exception as error:  # the runtime raises what its C++ throws
        raise _unreadable(path, "LiteRT", error) from error


def _unreadable(path: Path, runtime: str, error: Exception) -> LowzooError:
    reason = reason_of(error)
    return LowzooError(f"{path} is no file that {runtime} can load ({reason})", "Export it again")
