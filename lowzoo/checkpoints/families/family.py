"""A family of published checkpoints: where network and head lie in the file, and what timm calls the network's tensors.

`lowzoo convert` and the zoo take the network alone, training takes a teacher's head as well; both by the same reader.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lowzoo.base.errors import LowzooError
from lowzoo.catalog.position_rules import Rule
from lowzoo.checkpoints.files.content import is_tensor, without_module

State = dict[str, Any]
"""Tensors by name, or their outlines."""

MOBILENETV2_STAGES = (1, 2, 3, 4, 3, 3, 1)
"""Inverted residual blocks of each stage of MobileNetV2."""


class Parts(NamedTuple):
    """A checkpoint, split.

    Args:
        backbone: Tensors by the names of timm's module, unless the family renames them.
        head: Tensors by the names of the head in `lowzoo.train.heads`; empty where the file has none.
    """

    backbone: State
    head: State


Split = Callable[[Mapping[str, Any], Path], Parts]
"""From a file's content and its path, for messages, to its parts; raises LowzooError for another layout."""


@dataclass(frozen=True)
class Family:
    """One layout of a checkpoint together with the network in it.

    Args:
        name: What `--family` takes.
        architecture: What `timm.create_model` takes, after `import lowzoo` where it is a name of lowzoo.
        expects: Where the wanted network lies, for messages.
        branch: Finds the wanted network, under its publisher's names without prefix and without the parts that no
            backbone has; None where the file is not laid out like that.
        rename: From the publisher's names to timm's; names that it does not know it leaves alone.
        arguments: Further arguments for `timm.create_model`.
        interpolation: Filter of the resize before the centre crop, as the publisher evaluates.
        positions: How the publisher resamples position embeddings, see `lowzoo.zoo.architectures.positions`.
        own_entry: Entry that only this publisher's trainer writes, where the family also takes files of the backbone
            alone: those are laid out like anybody's, so that nothing but the name of the family makes them its own.
    """

    name: str
    architecture: str
    expects: str
    branch: Callable[[Mapping[str, Any]], State | None]
    rename: Callable[[State], State] = dict
    arguments: Mapping[str, Any] = field(default_factory=dict)
    interpolation: str = "bicubic"
    positions: Rule = "timm"
    own_entry: str = ""


def tensors(value: Any) -> State | None:
    """A dictionary of tensors without `module.`; None for anything else."""
    if not isinstance(value, Mapping) or not value:
        return None
    if not all(isinstance(key, str) and is_tensor(tensor) for key, tensor in value.items()):
        return None
    return without_module(value)


def without(state: State, *prefixes: str) -> State:
    """What starts with none of the prefixes."""
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def inside(state: State | None, prefix: str) -> State | None:
    """What stands under the prefix, without it; None if nothing does."""
    if state is None:
        return None
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)} or None


def under(state: State, prefix: str, rename: str = "") -> State:
    """What stands under the prefix, which is replaced by `rename`."""
    return {rename + key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def with_fc(state: State) -> Parts:
    """A network whose `fc` is its projection head."""
    return Parts(without(state, "fc."), under(state, "fc.", "mlp."))


def split_by(parts: Callable[[Mapping[str, Any]], Parts | None], branch: str) -> Split:
    """The same reader for those who know what the file is: with an error where it is laid out in another way.

    Args:
        parts: Gives the parts of a file, or None.
        branch: Where the network should lie, for the message.
    """

    def split(content: Mapping[str, Any], path: Path) -> Parts:
        found = parts(content)
        if found is None:
            raise LowzooError(
                f"{path} has no branch '{branch}' of tensors", "Name the file of this teacher, see `lowzoo teachers`"
            )
        return found

    return split


def stage_and_block(index: int, sizes: tuple[int, ...]) -> str:
    """`blocks.S.B` for block `index` (from 0) of stages of these sizes; past the last one, of one stage more."""
    for stage, size in enumerate(sizes):
        if index < size:
            return f"blocks.{stage}.{index}"
        index -= size
    return f"blocks.{len(sizes)}.{index}"
