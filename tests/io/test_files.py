"""Places that take no file."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.export.artifacts.places import atomic_place
from lowzoo.io.files import atomic_path, claimed, write_text


def pipe(path: Path) -> None:
    os.mkfifo(path)


def stream(path: Path) -> None:
    """What /dev/stdout is."""
    path.symlink_to("/proc/self/fd/1")


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [pipe, stream, socket_file, device])
def test_a_device_a_pipe_and_a_stream_keep_their_names(make, tmp_path):
    path = tmp_path / "x"
    make(path)
    before = path.lstat()
    for write in (
        lambda: write_text(path, "words"),
        lambda: atomic_path(path).__enter__(),
        lambda: atomic_place(path, folder=False).__enter__(),
        lambda: atomic_place(path, folder=True).__enter__(),
    ):
        with pytest.raises(LowzooError, match="x: it is a device, a pipe or a stream"):
            write()
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_link_to_a_plain_file_gives_way_as_a_file_does(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").read_text() == "new"
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize("folder", [False, True])
def test_a_name_that_is_too_long_is_a_place_that_takes_no_file(tmp_path, folder):
    path = tmp_path / ("x" * 300)
    for write in (lambda: write_text(path, "words"), lambda: atomic_place(path, folder=folder).__enter__()):
        with pytest.raises(LowzooError, match=r"cannot write .*: File name too long"):
            write()
    assert not list(tmp_path.iterdir())


def test_a_claim_ends_with_its_process_though_a_worker_of_it_lives_on(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from lowzoo.io.files import claimed
with claimed(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        try:
            with pytest.raises(LowzooError, match="another command is writing into"), claimed(tmp_path):
                pass
            owner.kill()
            owner.wait()
            os.kill(worker, 0)  # lives
            with claimed(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)
