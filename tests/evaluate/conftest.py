"""Features of one test are read by no other; a set of pictures for those that train on it."""

from pathlib import Path

import pytest

from lowzoo.evaluate.knn_protocol import TrainTestData, open_train_test
from tests.helpers.evaluate import write_pictures


@pytest.fixture(autouse=True)
def cold(cache: Path) -> None:
    """Begin with an empty cache."""


@pytest.fixture
def data(tmp_path: Path) -> TrainTestData:
    return open_train_test(str(write_pictures(tmp_path / "d", {"train": 30, "val": 10})))


@pytest.fixture
def few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let CIFAR-100 be as small as `tests.helpers.transfer` writes it."""
    from lowzoo.evaluate.sets import cifar100
    from tests.helpers.transfer import CIFAR_RECORDS

    monkeypatch.setattr(cifar100, "RECORDS", CIFAR_RECORDS)
