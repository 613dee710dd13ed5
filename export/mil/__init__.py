"""A reference interpreter of MIL, the programs inside Core ML packages.

Core ML itself runs on Apple's systems only, so off a Mac nothing else tells whether a package computes the right
numbers. This does, with the operators that the zoo's programs use: the package is read from disk as it is shipped
(protobuf and weight file), every operator is computed by torch in float32, and each result is rounded to the type that
the program declares, so a float16 program shows float16's errors. An operator that is not known is an error by name.
"""

from lowzoo.export.mil.program import (
    MODEL_FILE,
    Program,
    constants_of,
    load_program,
    operators_of,
    read_specification,
)
from lowzoo.export.mil.values import MilError, UnknownOperatorError

__all__ = [
    "MODEL_FILE",
    "MilError",
    "Program",
    "UnknownOperatorError",
    "constants_of",
    "load_program",
    "operators_of",
    "read_specification",
]
