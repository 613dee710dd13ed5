"""The pictures on which tiny runs train, made once for a file of tests."""

from pathlib import Path

import pytest

from tests.helpers.train import make_pictures, make_teacher


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pictures/` and a `teacher/` with its head."""
    folder = tmp_path_factory.mktemp("world")
    make_teacher(folder / "teacher")
    make_pictures(folder / "pictures")
    return folder
