"""Addresses: fetched once, again when they have changed, and refused in one line."""

import contextlib
import functools
import http.server
import io
import tarfile
import threading

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.data import remote
from lowzoo.data.source import open_set, open_source
from tests.helpers.data import add, png, shades, write_tar

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_a_folder_is_fetched_once_and_again_after_a_change(memory, cache, monkeypatch):
    for shade, name in enumerate(["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.png", "model.ckpt", ".x.jpg"]):
        memory.pipe(f"/bucket/set/{name}", png(shade))
    fetched = []
    real = memory.get_file
    monkeypatch.setattr(type(memory), "get_file", lambda self, path, *more: fetched.append(path) or real(path, *more))
    for _ in range(2):
        images = open_set("memory://bucket/set")
        assert images.splits == ("train", "validation")
        train = images.open("train")
        assert (shades(train), train.class_names) == ([0, 1], ("cat", "dog"))
        assert (images.name, dict(train.found.left_out)) == ("set", {".ckpt": 1, "hidden": 1})
        assert any(f"was fetched into {cache}" in note for note in train.found.notes)
        assert len(fetched) == 3
    memory.pipe("/bucket/set/train/cat/1.jpg", png(9))
    assert shades(open_source("memory://bucket/set")) == [9, 1]


def test_single_files_and_patterns(memory, tmp_path):
    for shard in range(3):
        memory.pipe(f"/b/s-{shard}.tar", write_tar(tmp_path / "s.tar", [shard, shard + 10]).read_bytes())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        add(archive, "1.png", png(7))
    memory.pipe("/b/a.tar.gz", buffer.getvalue())
    memory.pipe("/b/photo.png", png(8))
    assert shades(open_source("memory://b/s-1.tar")) == [1, 11]
    assert shades(open_source("memory://b/s-{0..2}.tar")) == [0, 10, 1, 11, 2, 12]
    assert shades(open_source("memory://b/a.tar.gz")) == [7]
    assert shades(open_source("memory://b/photo.png")) == [8]


def test_a_fetch_that_was_cut_off_goes_on(memory, monkeypatch):
    for shade in range(4):
        memory.pipe(f"/b/d/{shade}.png", png(shade))
    fetched = []
    real = memory.get_file

    def get(self, path, *more):
        fetched.append(path)
        if path.endswith("3.png") and len(fetched) <= 4:
            raise OSError("the line broke")
        return real(path, *more)

    monkeypatch.setattr(type(memory), "get_file", get)
    monkeypatch.setattr(remote, "_THREADS", 1)
    with pytest.raises(LowzooError, match=r"cannot fetch .*3.png: .*the line broke"):
        open_source("memory://b/d")
    assert shades(open_source("memory://b/d")) == [0, 1, 2, 3]
    assert len(fetched) == 5


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("memory://b/none", "memory://b/none does not exist or cannot be reached"),
        ("nowhere://b/x", "is an address of an unknown kind"),
        ("https://user:secret@localhost:1/folder/?key=secret", "is no single file with images"),
    ],
)
def test_refused_in_one_line(memory, word, message):
    pytest.importorskip("aiohttp")
    with pytest.raises(LowzooError, match=message) as caught:
        open_source(word)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_backend_that_is_absent_is_named(monkeypatch):
    def absent(scheme):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    with pytest.raises(LowzooError, match=r"s3:// need s3fs. Run: pip install s3fs"):
        open_source("s3://bucket/set")


def test_no_room(memory, monkeypatch):
    memory.pipe("/b/d/1.png", png(1))
    monkeypatch.setattr(remote, "_RESERVE", 1 << 60)
    with pytest.raises(LowzooError, match=r"has room for 0.0 GB"):
        open_source("memory://b/d")


@contextlib.contextmanager
def served(folder):
    """A web server of a folder on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_over_the_web(tmp_path):
    pytest.importorskip("aiohttp")
    write_tar(tmp_path / "www/a b.tar", [1, 2])
    with served(tmp_path / "www") as address:
        assert shades(open_source(f"{address}/a%20b.tar")) == [1, 2]
        with pytest.raises(LowzooError, match=r"gone\.tar does not exist or cannot be reached"):
            open_source(f"{address}/gone.tar")
