"""SimCLR as SEED's authors pass it on: `{"model": {*, fc.{0,1,3}.*}}`; a teacher alone. Names are timm's."""

from collections.abc import Mapping
from typing import Any

from lowzoo.checkpoints.families.family import Parts, split_by, tensors, with_fc


def _parts(content: Mapping[str, Any]) -> Parts | None:
    state = tensors(content.get("model"))
    return with_fc(state) if state else None


split = split_by(_parts, "model")
