"""A preset that lacks what a run needs."""

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.train.settings.config import validate

VIEW = {"name": "global", "count": 1, "size": 32, "scale": [0.4, 1.0]}


@pytest.mark.parametrize(
    ("fields", "lacking"),
    [
        ({"views": [VIEW], "batch_size": 4, "weight_decay": 0.0, "weight_decay_end": 0.0}, "lr"),
        ({"lr": 1e-3, "batch_size": 4, "weight_decay": 0.0, "weight_decay_end": 0.0}, "views"),
        ({"views": [{"name": "global"}], "lr": 1e-3, "batch_size": 4, "weight_decay": 0.0}, "views.0.count"),
    ],
)
def test_what_is_lacking_is_named_and_nothing_else_is_shown(fields, lacking) -> None:
    with pytest.raises(LowzooError) as error:
        validate({"recipe": "seed", **fields})
    assert error.value.message == f"the settings give no {lacking}"
