"""Every operator that the interpreter knows, by its name in MIL."""

from collections.abc import Callable
from typing import Any

from lowzoo.export.mil.compressed import COMPRESSED
from lowzoo.export.mil.elementwise import ELEMENTWISE
from lowzoo.export.mil.gathering import GATHERING
from lowzoo.export.mil.images import IMAGES
from lowzoo.export.mil.layers import LAYERS
from lowzoo.export.mil.reductions import REDUCTIONS
from lowzoo.export.mil.shapes import SHAPES

OPS: dict[str, Callable[..., Any]] = {
    **ELEMENTWISE,
    **LAYERS,
    **IMAGES,
    **SHAPES,
    **GATHERING,
    **REDUCTIONS,
    **COMPRESSED,
}
