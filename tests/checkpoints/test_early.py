"""What is refused before torch or timm are imported, by what is imported when the refusal comes."""

import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import timm
import torch
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.catalog.architectures import architectures
from lowzoo.checkpoints.early import refuse_early

PROGRAM = """
import sys
from lowzoo.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print(ended.code, *(name for name in ("torch", "timm") if name in sys.modules))
"""


class _Runs:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def _code(path, zipped=True):
    torch.save({"a": torch.ones(3), "x": _Runs()}, path, _use_new_zipfile_serialization=zipped)


def _archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")


def _cut(path):
    torch.save({"a": torch.ones(3000)}, path)
    path.write_bytes(path.read_bytes()[:-500])


FILES = {
    "text": (lambda path: path.write_text("no checkpoint\n" * 9), "cannot be read as a torch checkpoint"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as a torch checkpoint"),
    "archive": (_archive, "cannot be read as a torch checkpoint"),
    "cut": (_cut, "cannot be read as a torch checkpoint"),
    "code": (_code, "system.* could run code"),
    "code_older": (lambda path: _code(path, zipped=False), "system.* could run code"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(_Runs())), "system.* could run code"),
    "pickle_4": (lambda path: path.write_bytes(pickle.dumps(_Runs(), 4)), "system.* could run code"),
    "missing": (lambda path: None, "there is no file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_refused_by_name(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, words = FILES[kind]
    make(tmp_path / "x.pth")
    with pytest.raises(LowzooError, match=words):
        refuse_early("resnet18@x.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "convert code.pth --arch resnet18 --out o",
        "convert text.pth --out o",
        "convert fine.pth --arch resnet81 --out o",
        "convert missing.pth --out o",
        "info text.pth",
        "info resnet81",
        "info resnet18@code.pth",
        "export resnet81@fine.pth",
        "export resnet18@text.pth#ema",
        "embed --model resnet18@code.pth",
        "eval knn resnet18@missing.pth",
        "bench resnet18@code.pth",
        "check x.onnx --against resnet18@code.pth",
        "train rob --init resnet18@code.pth",
        "train rob --teacher resnet18@text.pth",
    ],
)
def test_every_door_says_no_before_torch_and_timm_are_there(words, tmp_path):
    FILES["text"][0](tmp_path / "text.pth")
    _code(tmp_path / "code.pth")
    torch.save({"a.weight": torch.ones(3)}, tmp_path / "fine.pth")
    assert _run(words, tmp_path) == "2"


def test_every_name_that_timm_takes_is_known_beforehand():
    from timm.models._registry import _model_entrypoints

    assert not {name for name in _model_entrypoints if name not in architectures()} - _own()
    assert "resnet18" in architectures()
    assert "resnet81" not in architectures()


def _own():
    """Names of the zoo, which the catalog knows."""
    from lowzoo import catalog

    return set(catalog.models())


def test_what_is_fine_passes(tmp_path):
    network = timm.create_model("test_resnet", num_classes=0)
    content = {"state_dict": network.state_dict(), "module": nn.Linear(2, 2), "epoch": 3}
    for zipped in (True, False):
        torch.save(content, tmp_path / "fine.pth", _use_new_zipfile_serialization=zipped)
        word = f"test_resnet@{tmp_path / 'fine.pth'}"
        assert refuse_early(word) == word
    for word in ("rob_vit_tiny", "lowzoo/rob_vit_tiny", "hf-hub:a/b", "resnet18.a1_in1k", str(tmp_path), None):
        assert refuse_early(word) == word


def _run(words, folder):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not (folder / "pwned").exists()
    assert found.stderr.startswith("lowzoo: error: "), found.stderr
    return found.stdout.strip()
