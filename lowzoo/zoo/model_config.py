"""What of a stranger's `config.json` is believed: how to build the network and how to feed it, and no further place.

timm hands everything in there on to its own functions, among them names of files to load.
"""

from collections.abc import Mapping
from typing import Any

from lowzoo.base.errors import LowzooError

# Keys of timm's pretrained_cfg that name or describe a source of weights.
_SOURCES = ("source", "file", "url", "hf_hub_id", "hf_hub_filename", "state_dict", "custom_load")
# Arguments of timm.create_model that are no arguments of a network.
_REFUSED = (
    "cache_dir",
    "checkpoint_path",
    "features_only",
    "model_name",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_filter_fn",
)


def plain_cfg(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """A `pretrained_cfg` without any source of weights."""
    return {key: value for key, value in cfg.items() if key not in _SOURCES}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse `model_args` that reach beyond the network.

    Raises:
        LowzooError: One of them names a file or changes how weights are loaded.
    """
    if refused := [key for key in arguments if key in _REFUSED]:
        raise LowzooError(
            f"config.json sets {refused[0]} = {arguments[refused[0]]!r} in model_args, which no network takes",
            "Do not use this model; whoever wrote it wants lowzoo to load something else",
        )
