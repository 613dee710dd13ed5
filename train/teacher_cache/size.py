"""What a teacher cache takes on disk."""

from typing import NoReturn

from lowzoo.base.errors import LowzooError
from lowzoo.train.views.params import RECORD_FIELDS


def cache_bytes(count: int, view_epochs: int, views: int, bottleneck: int) -> int:
    """Size of a full cache.

    Args:
        count: Images.
        view_epochs: Epochs of views.
        views: Global views an image, G.
        bottleneck: Width D'.
    """
    return count * view_epochs * (views * (2 * bottleneck + 4 * len(RECORD_FIELDS)) + 8)


def patch_cache_bytes(count: int, view_epochs: int, views: int, patches: int, bottleneck: int) -> int:
    """Size that the bottlenecks of all patches would take in fp16.

    Args:
        count: Images.
        view_epochs: Epochs of views.
        views: Global views an image, G.
        patches: Patches of a view, N.
        bottleneck: Width D'.
    """
    return count * view_epochs * views * patches * bottleneck * 2


def refuse_patch_targets(count: int, view_epochs: int, views: int, patches: int, bottleneck: int) -> NoReturn:
    """Refuse to cache an objective that needs a target for every patch; arguments as `patch_cache_bytes`."""
    size = patch_cache_bytes(count, view_epochs, views, patches, bottleneck)
    raise LowzooError(
        f"targets of patches do not fit into a teacher cache: {count} images x {view_epochs} epochs x {views} views x "
        f"{patches} patches x {bottleneck} fp16 values are {human(size)}",
        "Train without --teacher-cache, or with a loss that has no patch term",
    )


def human(size: float) -> str:
    """Bytes with four digits and a decimal unit."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
