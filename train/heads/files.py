"""Projection heads as safetensors: the tensors, and what the head is as metadata."""

import json
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lowzoo.base.errors import LowzooError, first_misfit
from lowzoo.io.files import atomic_path, plain_path
from lowzoo.train.heads import HEADS, HeadSpec

_KEY = "lowzoo.head"


def save_head(
    path: Path,
    head: nn.Module,
    spec: HeadSpec,
    in_dim: int,
    out_dim: int,
    *,
    half: bool = False,
    embedding: bool = False,
) -> None:
    """Write a head.

    Args:
        path: Path of the safetensors file.
        head: What `spec.build(in_dim, out_dim)` made.
        spec: Its kind and widths.
        in_dim: Width D of its features.
        out_dim: Number of its scores K.
        half: Store fp16.
        embedding: It was trained to end in an embedding, whatever its kind.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    facts = {"spec": spec.model_dump(), "in_dim": in_dim, "out_dim": out_dim, "embedding": embedding}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(facts, sort_keys=True)})


def load_head(path: Path) -> tuple[nn.Module, HeadSpec, int, int]:
    """Read a head: module in fp32 and eval mode, its spec, D and K.

    Raises:
        LowzooError: The file is damaged or holds no head.
    """
    try:
        file_of = plain_path(path)
        with safe_open(file_of, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
        spec = HeadSpec.model_validate(facts["spec"])
        in_dim, out_dim = int(facts["in_dim"]), int(facts["out_dim"])
        head = spec.build(in_dim, out_dim)
        head.load_state_dict(
            {key: value.float() if value.is_floating_point() else value for key, value in load_file(file_of).items()}
        )
    except ValidationError as error:
        place, reason = first_misfit(error)
        raise LowzooError(
            f"the head in {path} cannot be made here ({place}: {reason})",
            "Install the package that brings it, or get the file again",
        ) from error
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise LowzooError(f"{path} is not a projection head ({error})", "Get the file again") from error
    return head.eval(), spec, in_dim, out_dim


def ends_in_embedding(path: Path) -> bool:
    """Whether the scores of a stored head are an embedding, which is no distribution over prototypes.

    Raises:
        LowzooError: The file is damaged or holds no head.
    """
    try:
        with safe_open(plain_path(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
        # Heads from before it was stored are told by their kind.
        return bool(facts.get("embedding")) or HEADS[facts["spec"]["kind"]].embedding
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise LowzooError(f"{path} is not a projection head ({error})", "Get the file again") from error
