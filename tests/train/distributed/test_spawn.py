"""What `--devices N` says where its processes end with an error."""

import os
import time

import pytest

from lowzoo.base.errors import LowzooError, ToldElsewhere
from lowzoo.train.distributed.processes import spawn


def _unreadable() -> None:
    words = ("40 of 210 images of d cannot be read, the first: a.png", "Replace or remove them")
    if os.environ["RANK"] == "1":
        raise ToldElsewhere(*words)
    time.sleep(1)
    raise LowzooError(*words)


@pytest.mark.slow
def test_an_error_of_another_process_is_said_as_that_one_says_it() -> None:
    with pytest.raises(LowzooError) as ended:
        spawn(2, _unreadable, "cpu")
    assert str(ended.value) == "40 of 210 images of d cannot be read, the first: a.png. Replace or remove them"
