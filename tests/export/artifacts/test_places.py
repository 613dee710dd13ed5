"""A disk that is full is told as such, whatever the tool that met it says."""

import errno
import shutil
from types import SimpleNamespace

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.export.artifacts.places import atomic_place


def _write_and_fail(path, needed):
    with atomic_place(path, folder=False, needed=needed) as temporary:
        temporary.write_bytes(b"short")
        raise RuntimeError("a tool in C++ blames something else")


def test_a_full_disk_is_what_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(LowzooError, match="No space left on device"):
        _write_and_fail(tmp_path / "x.onnx", 1000)
    assert list(tmp_path.iterdir()) == []


def test_with_room_a_tool_s_own_words_stay(tmp_path):
    with pytest.raises(RuntimeError, match="blames something else"):
        _write_and_fail(tmp_path / "x.onnx", 1000)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_full_for_a_little_is_found_by_trying(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lowzoo.export.artifacts.places.tempfile.TemporaryFile", full)
    with pytest.raises(LowzooError, match="No space left on device"):
        _write_and_fail(tmp_path / "x.onnx", 0)
