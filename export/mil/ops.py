"""Every operator that the interpreter knows, by its name in MIL."""

from collections.abc import Callable
from typing import Any

from lowzoo.export.mil.compressed import COMPRESSED
from lowzoo.export.mil.elementwise import ELEMENTWISE
from lowzoo.export.mil.layers import LAYERS
from lowzoo.export.mil.shapes import SHAPES

OPS: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **LAYERS, **SHAPES, **COMPRESSED}
