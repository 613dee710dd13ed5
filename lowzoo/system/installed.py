"""Optional packages: whether one is there, and whether it fits the torch that is there."""

from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement

from lowzoo.base.errors import LowzooError


def require(distribution: str, extra: str) -> None:
    """Refuse if a package is not installed, or states that it wants another torch.

    Args:
        distribution: Its name where it is installed from.
        extra: Extra of this package that brings it.

    Raises:
        LowzooError: Either of them.
    """
    try:
        wanted = [Requirement(line) for line in requires(distribution) or []]
    except PackageNotFoundError as error:
        raise LowzooError(f"{distribution} is not installed", f"Install lowzoo[{extra}]") from error
    release = torch.__version__.partition("+")[0]
    for requirement in wanted:
        if requirement.name == "torch" and not requirement.specifier.contains(release, prereleases=True):
            raise LowzooError(
                f"{distribution} {version(distribution)} wants torch {requirement.specifier}, and torch {release} "
                "is installed",
                f"Make another environment with 'lowzoo[{extra}]' and 'torch{requirement.specifier}'",
            )
