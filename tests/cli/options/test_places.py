"""Options that name a file refuse a folder, and what is written like one, before anything is done."""

import pytest

from lowzoo.cli.main import main

WORDS = (
    "bench --out",
    "data --out",
    "data --sheet",
    "embed --sheet",
    "eval knn rob_vit_tiny --out",
    "eval knn rob_vit_tiny --confusion",
    "eval linear rob_vit_tiny --out",
    "list --plot",
)


@pytest.mark.parametrize("place", ["{folder}", "{folder}/", "{folder}/new/"])
@pytest.mark.parametrize("words", WORDS)
def test_a_folder_is_no_file(words, place, tmp_path, capsys):
    named = place.format(folder=tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), named])
    assert ended.value.code == 2
    assert f"cannot write {named}: it is a directory. Name a file in it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
