"""Names that are not UTF-8 and terminals that are not, through a whole run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lowzoo.base.printable import harmless, printable
from lowzoo.io.files import atomic_path, plain_path, write_text
from lowzoo.train.monitoring.curves import draw_curves
from lowzoo.train.runs.checkpoint import load_checkpoint
from lowzoo.train.runs.folder import read_config, write_config
from lowzoo.train.settings.config import to_toml
from tests.helpers.train import SETTINGS, config_of, make_pictures, make_teacher


def latin(folder: Path, name: str) -> Path:
    """A path whose last part is Latin-1; skips where the file system has none such."""
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name.encode("latin-1")))
    try:
        path.mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    path.rmdir()
    return path


def test_text_keeps_all_that_is_text() -> None:
    assert printable("Käfer 虫 \\ 🙂") == "Käfer 虫 \\ 🙂"
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert printable("\ud800") == "\\ud800"


def test_what_a_stranger_says_is_one_line_of_a_terminal() -> None:
    assert harmless("Käfer 虫 \\ 🙂") == "Käfer 虫 \\ 🙂"
    assert harmless("\x1b]52;c;cm0=\x07\x1b[2J\x9b1m") == "�]52;c;cm0=��[2J�1m"
    assert harmless("no\r\nphone 1: gone\u2028") == "no  phone 1: gone "
    assert harmless("\u202etxt\ud800") == "�txt�"


def test_text_files_are_utf8_whatever_they_name(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", os.fsdecode(b"caf\xe9 ") + "é\n")
    assert (tmp_path / "a.txt").read_bytes() == "caf\\xe9 é\n".encode()


def test_a_library_gets_a_path_that_it_takes(tmp_path: Path) -> None:
    folder = latin(tmp_path, "caf\xe9")
    with atomic_path(folder / "x.txt") as temporary:
        str(temporary).encode()
        temporary.write_text("content")
    assert [path.name for path in folder.iterdir()] == ["x.txt"]
    assert plain_path(folder / "x.txt").read_text() == "content"
    assert plain_path(tmp_path / "x") == tmp_path / "x"


def test_a_configuration_is_read_back_with_such_a_name(tmp_path: Path) -> None:
    world = make_pictures(tmp_path / "world")
    config = config_of("rob_dino", world).model_copy(update={"teacher": os.fsdecode(b'caf\xe9 "\t\x7f')})
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config
    assert "\\t" in to_toml(config)


def test_a_title_is_no_formula(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "curves.png", "from runs/$a_$b " + os.fsdecode(b"\xe9"))
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_run_under_such_names_ends_with_all_that_it_promises(tmp_path: Path) -> None:
    data, teacher, out = (latin(tmp_path, name) for name in ("d\xe9", "t\xe9", "o\xe9"))
    make_pictures(data)
    make_teacher(teacher)
    broken = latin(data / "train" / "cold", "br\xe9.png")
    broken.write_bytes(b"no picture")
    words = ["train", "rob", "--preset", "rob_dino", "--data", str(data), "--teacher", str(teacher), "--out", str(out)]
    settings = [*SETTINGS, "epochs=1", "max_bad_share=0.5", "batch_size=25"]
    words += [word for setting in settings for word in ("--set", setting)]
    # The strictest terminal there is.
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", "from lowzoo.cli.main import main; main()", *words],
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "README.md").read_text(encoding="utf-8").count("t\\xe9")
    assert (out / "bad_images.txt").read_text(encoding="utf-8").count("br\\xe9.png is not a readable image") == 1
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "run.json").read_text())["teacher"]["name"] == str(teacher)
    state = load_checkpoint(out)
    assert state is not None
    assert all(torch.isfinite(value).all() for value in state["method"].values() if value.is_floating_point())
    again = subprocess.run(
        [sys.executable, "-c", "from lowzoo.cli.main import main; main()", *words, "--resume"], capture_output=True
    )
    assert again.returncode == 0, again.stderr
