"""What one test has found out of a source helps no other."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cold(cache: Path) -> None:
    """Begin with an empty cache."""
