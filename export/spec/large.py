"""Networks whose weights do not fit into one file: ONNX and LiteRT stop at 2 GB, which is known before any work.

The weights of an ONNX file then lie beside it, in `NAME.onnx.data`, and both are moved together.
"""

from pathlib import Path

from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.export.formats import format_of
from lowzoo.export.spec.spec import ExportSpec

# protobuf and flatbuffers count in 31 bits; the graph itself takes a few MB of them.
LIMIT = 2**31 - 2**25
DATA_SUFFIX = ".data"


def parameter_bytes(network: nn.Module, spec: ExportSpec) -> int:
    """Bytes of the tensors that a file of this precision holds."""
    # LiteRT's float16 is made from a file in float32, which has to fit as well.
    wide = 2 if spec.precision == "fp16" and spec.format == "onnx" else 4
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * (wide if tensor.is_floating_point() else tensor.element_size()) for tensor in tensors)


def least_bytes(network: nn.Module, spec: ExportSpec) -> int:
    """Bytes that a file of this precision has at least: palettes have 4 bits a weight."""
    bits = {"fp32": 32, "fp16": 16}.get(spec.precision, 4)
    return sum(tensor.numel() for tensor in network.parameters()) * bits // 8


def needs_data_file(network: nn.Module, spec: ExportSpec) -> bool:
    """Whether the weights of an ONNX file have to lie beside it."""
    return spec.format == "onnx" and parameter_bytes(network, spec) > LIMIT


def refuse_too_large(network: nn.Module, spec: ExportSpec, name: str) -> None:
    """Refuse what no file of the format can hold, before any work.

    Raises:
        LowzooError: The format's tools take whole files of 2 GB at most, such as LiteRT's, or those of int8 ONNX.
    """
    size = parameter_bytes(network, spec)
    tool = spec.kind.whole.get(spec.precision)
    if tool and size > LIMIT:
        raise LowzooError(
            f"the weights of {name} are {size / 1e9:.2f} GB in float32, and {tool} ends at {LIMIT / 1e9:.2f} GB",
            "Use --format onnx, with --precision fp32 or fp16; what is too large for one file is written as two",
        )


def large_warning(network: nn.Module, spec: ExportSpec, path: Path) -> str:
    """What a user must know of a file in two parts."""
    half = size / 2 if (size := parameter_bytes(network, spec)) and spec.precision == "fp32" else None
    offer = "; --precision fp16 makes one file" if half and half <= LIMIT else ""
    return f"the weights ({size / 1e9:.2f} GB) lie beside it in {path.name}{DATA_SUFFIX}: move both together{offer}"


def data_files(path: Path) -> list[Path]:
    """The files beside an artifact that hold its weights; empty if it holds them itself, or is not there."""
    kind = format_of(path)
    if kind is not None and kind.parts:
        return [path.with_suffix(part) for part in kind.parts] if path.is_file() else []
    if path.suffix != ".onnx" or not path.is_file() or path.stat().st_size > LIMIT:
        return []
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception:  # protobuf's DecodeError has moved between its versions; whoever runs the file says what is wrong
        return []
    names = {ExternalDataInfo(tensor).location for tensor in graph.initializer if uses_external_data(tensor)}
    return sorted(path.parent / name for name in names)


def refuse_two_files(path: Path, where: str) -> None:
    """Refuse a file whose weights lie beside it, for a target that takes one file.

    Raises:
        LowzooError: It is one.
    """
    if beside := data_files(path):
        raise LowzooError(
            f"{path} keeps its weights in {beside[0].name}, and {where} takes one file",
            "Export it with --precision fp16, or time it on this computer",
        )
