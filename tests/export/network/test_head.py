"""The list of classes beside a head."""

from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.export.network.head import read_classes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_classes_may_come_from_any_editor(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_bytes("cat \r\nHündin\t\r\n\r\n".encode(encoding))
    assert read_classes(file) == ("cat", "Hündin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\n\ncat \n", r"has 'cat' twice, on lines 1 and 4\. Give each class"),
        ("cat\n", "holds 1 class names"),
        ("\n", "holds 0 class names"),
    ],
)
def test_a_list_that_no_head_can_have_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(LowzooError, match=message):
        read_classes(tmp_path / "classes.txt")
