"""Constants of a MIL program: immediate ones from the protobuf, large ones from the weight file.

The weight file (version 2): a header of 64 bytes (number of blobs, version), then for each blob 64 bytes of metadata at
a multiple of 64 (sentinel 0xDEADBEEF, type, length in bytes, offset of the data) and the data. A value points at the
metadata. Read by hand and not by the library that wrote it, so that a damaged file is seen.
"""

import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowzoo.base.errors import LowzooError

_SENTINEL = 0xDEADBEEF
# The protobuf's DataType numbers.
FLOAT16, FLOAT32, STRING, BOOL = 10, 11, 2, 1
_NUMPY = {
    BOOL: np.bool_, FLOAT16: np.float16, FLOAT32: np.float32, 12: np.float64,
    21: np.int8, 22: np.int16, 23: np.int32, 24: np.int64, 31: np.uint8, 32: np.uint16, 33: np.uint32, 34: np.uint64,
}  # fmt: skip
# Types below a byte are packed, the first element in the lowest bits.
_BITS = {25: 4, 35: 4, 36: 2, 37: 1, 38: 6, 39: 3}
_SIGNED_BITS = {25}


class MilError(LowzooError):
    """A package that cannot be read or a program that this interpreter does not know."""


class WeightsError(MilError):
    """A weight file that does not hold what the program reads from it."""


class UnknownOperatorError(MilError):
    """A program that may be right, but uses what this interpreter does not know."""


def torch_type(number: int) -> torch.dtype:
    """The torch type of a MIL type; unsigned and sub-byte integers are widened."""
    if number == FLOAT16:
        return torch.float16
    if number in (FLOAT32, 12):
        return torch.float32
    return torch.bool if number == BOOL else torch.int64


def decode(value: Any, blobs: bytes) -> Tensor | str | list[str]:
    """A protobuf `Value` as a tensor (float16 and float32 kept, integers as int64), a word, or a list of words.

    Raises:
        MilError: The weight file does not hold it, or it is of a type without meaning here.
    """
    kind = value.type.tensorType
    shape = [dimension.constant.size for dimension in kind.dimensions]
    source = value.WhichOneof("value")
    if source == "blobFileValue":
        return _tensor(_blob(blobs, value.blobFileValue.offset), kind.dataType, shape)
    if source != "immediateValue":
        raise MilError(f"a constant without a value ({source})", "Export it again")
    if value.immediateValue.WhichOneof("value") == "list":
        return [str(decode(part, blobs)) for part in value.immediateValue.list.values]
    content = value.immediateValue.tensor
    field = content.WhichOneof("value")
    if field == "bytes":
        return _tensor(content.bytes.values, kind.dataType, shape)
    values = list(getattr(content, field).values)
    if field == "strings":
        return values if shape else values[0]
    return torch.tensor(values).to(torch_type(kind.dataType)).reshape(shape)


def unpack_bits(packed: np.ndarray[Any, np.dtype[np.uint8]], bits: int, count: int) -> np.ndarray[Any, Any]:
    """`count` numbers of `bits` bits from bytes, the first in the lowest bits.

    Raises:
        MilError: There are not enough bytes.
    """
    flat = np.unpackbits(packed, bitorder="little")
    if len(flat) < count * bits:
        raise MilError(f"{len(packed)} bytes hold no {count} numbers of {bits} bits", "Export it again")
    weights = (1 << np.arange(bits)).astype(np.int64)
    unpacked: np.ndarray[Any, Any] = flat[: count * bits].reshape(count, bits).astype(np.int64) @ weights
    return unpacked


def _tensor(data: bytes, number: int, shape: list[int]) -> Tensor:
    count = int(np.prod(shape, dtype=np.int64))
    if number in _BITS:
        bits = _BITS[number]
        numbers = unpack_bits(np.frombuffer(data, np.uint8), bits, count)
        if number in _SIGNED_BITS:
            numbers = numbers - (numbers >> (bits - 1) << bits)
        return torch.from_numpy(numbers).reshape(shape)
    if number not in _NUMPY:
        raise MilError(f"constants of MIL type {number} are not known", "Export it again with another precision")
    array = np.frombuffer(data, np.dtype(_NUMPY[number]).newbyteorder("<"))
    if len(array) != count:
        raise MilError(f"a constant of shape {shape} has {len(array)} values", "Export it again")
    if array.dtype.kind in "iu":
        array = array.astype(np.int64)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).reshape(shape)


def _blob(blobs: bytes, offset: int) -> bytes:
    if len(blobs) < offset + 64:
        raise WeightsError(f"it ends before byte {offset}", "Export it again")
    sentinel, _, length, start = struct.unpack_from("<IIQQ", blobs, offset)
    if sentinel != _SENTINEL or start + length > len(blobs):
        raise WeightsError(f"it holds no values at byte {offset}", "Export it again")
    return blobs[start : start + length]
