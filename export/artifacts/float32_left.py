"""What an fp16 file still holds in float32: counted when it is written, and told at export, in the file and by a check.

Counted are the numbers of constants in two dimensions or more. One number a channel, as biases and the scales of norms
are, stays in float32 in most formats and weighs nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod

FLOAT32_LEFT = "lowzoo.fp16_float32_weights"


@dataclass(frozen=True)
class Float32Left:
    """Weights of an fp16 file.

    Args:
        kept: How many numbers are stored in float32.
        of: How many there are.
    """

    kept: int
    of: int

    @classmethod
    def among(cls, constants: Iterable[tuple[Sequence[int], bool]]) -> "Float32Left":
        """Count constants, of which each is its shape and whether it is stored in float32."""
        kept = whole = 0
        for shape, wide in constants:
            numbers = weights_in(shape)
            whole += numbers
            kept += numbers if wide else 0
        return cls(kept, whole)

    @classmethod
    def said_by(cls, notes: Mapping[str, str]) -> "Float32Left | None":
        """What a file says of itself; None where it says nothing that can be read."""
        try:
            found = json.loads(notes[FLOAT32_LEFT])
            return cls(int(found["kept"]), int(found["of"]))
        except (KeyError, ValueError, TypeError, OverflowError):
            return None

    @property
    def note(self) -> dict[str, str]:
        """Metadata of the file."""
        return {FLOAT32_LEFT: json.dumps(asdict(self))}

    def sentences(self, why: str = "") -> tuple[str, ...]:
        """A sentence on it, or none where every weight is float16."""
        if not self.kept:
            return ()
        megabytes = 4 * self.kept / 1e6
        size = f"{megabytes:,.1f}" if megabytes >= 1 else f"{megabytes:.2g}"
        told = f"{self.kept:,} of {self.of:,} weights stay in float32 ({size} MB)"
        return (f"{told}{f': {why}' if why else ''}",)


def weights_in(shape: Sequence[int]) -> int:
    """How many weights a constant of that shape is, 0 for one of a number a channel or less."""
    return prod(shape) if sum(side > 1 for side in shape) > 1 else 0
