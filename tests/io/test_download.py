"""Downloads from a server of this process that resumes or does not, breaks off, refuses, or gives something else."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.io import download as module
from lowzoo.io.download import download, downloads_folder, has_digest

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content`, with what the tests set."""

    content = CONTENT
    ranges = True
    etag: str | None = '"one"'
    status = 0  # answer this instead
    breaks: list[int]  # bytes after which the next answers break off
    requests: list[tuple[str, str | None]]  # path and Range of each request
    location = ""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if server.location:
            self.send_response(302)
            self.send_header("Location", server.location)
            self.end_headers()
            return
        if server.status:
            self.send_error(server.status)
            return
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") in (None, server.etag):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(server.content)
        self.wfile.write(server.content[start:end])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("LOWZOO_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "_WAITS", (0.0, 0.0))
    server = Server(("127.0.0.1", 0), Handler)
    server.breaks, server.requests = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: Server, query: str = "") -> str:
    return f"http://127.0.0.1:{server.server_port}/file.pth{query}"


def left_over() -> list[str]:
    """Everything beside finished files and locks."""
    return [path.name for path in downloads_folder().rglob("*") if ".part" in path.name]


def test_a_file_is_fetched_once_and_its_signature_kept_secret(server: Server, capsys: pytest.CaptureFixture) -> None:
    path = download(address(server, "?sig=secret"), "family/file.pth", size=len(CONTENT), digest=f"sha256:{SHA256}")
    assert path == downloads_folder() / "family" / "file.pth"
    assert path.read_bytes() == CONTENT
    assert download(address(server), "family/file.pth") == path
    assert server.requests == [("/file.pth?sig=secret", None)]
    assert left_over() == []
    assert not any("secret" in file.read_text(errors="replace") for file in downloads_folder().rglob("*.json"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Downloading file.pth\n"


def test_what_breaks_off_is_continued_where_it_broke(server: Server) -> None:
    server.breaks = [300_000, 0, 200_000]
    assert download(address(server), "file.pth").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", "bytes=300000-", "bytes=500000-"]


def test_a_later_call_continues_too(server: Server) -> None:
    server.breaks = [400_000, 0, 0, 0]
    with pytest.raises(LowzooError, match="broke off after 400000 bytes") as caught:
        download(address(server, "?sig=secret"), "file.pth")
    assert "secret" not in str(caught.value)
    assert not (downloads_folder() / "file.pth").exists()
    server.requests.clear()
    assert download(address(server), "file.pth").read_bytes() == CONTENT
    assert server.requests == [("/file.pth", "bytes=400000-")]
    assert left_over() == []


@pytest.mark.parametrize("why", ["no ranges", "no mark", "changed"])
def test_what_cannot_be_continued_starts_again(server: Server, why: str) -> None:
    server.breaks = [400_000, 0, 0, 0]
    server.etag = None if why == "no mark" else '"one"'
    if why == "no mark":
        server.breaks = [400_000] * 4
    with pytest.raises(LowzooError, match="broke off"):
        download(address(server), "file.pth")
    if why == "no mark":
        assert {wanted for _, wanted in server.requests} == {None}
    server.breaks = []
    if why == "no ranges":
        server.ranges = False
    if why == "changed":
        server.etag, server.content = '"two"', CONTENT[::-1]
    assert download(address(server), "file.pth").read_bytes() == server.content


def test_a_part_longer_than_the_file_is_thrown_away(server: Server) -> None:
    server.breaks = [400_000, 0, 0, 0]
    with pytest.raises(LowzooError, match="broke off"):
        download(address(server), "file.pth")
    server.content = CONTENT[:1000]
    assert download(address(server), "file.pth").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize(("status", "remedy"), [(403, "expired"), (404, "publisher's page")])
def test_a_refusal_is_one_line(server: Server, status: int, remedy: str) -> None:
    server.status = status
    with pytest.raises(LowzooError, match=rf"file\.pth answers {status}") as caught:
        download(address(server, "?sig=secret"), "file.pth")
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1
    assert not (downloads_folder() / "file.pth").exists()


def test_a_server_that_is_busy_is_asked_again(server: Server) -> None:
    server.status = 503
    with pytest.raises(LowzooError, match="HTTP 503"):
        download(address(server), "file.pth")
    assert len(server.requests) == 3


@pytest.mark.parametrize("wrong", ["size", "sha256", "md5"])
def test_another_content_than_published_is_not_kept(server: Server, wrong: str) -> None:
    size = len(CONTENT) + 1 if wrong == "size" else None
    digest = "" if wrong == "size" else f"{wrong}:12345678"
    with pytest.raises(LowzooError, match=r"instead of|published digest"):
        download(address(server), "file.pth", size=size, digest=digest)
    assert not (downloads_folder() / "file.pth").exists()
    assert left_over() == []


def test_digests_may_be_published_in_part(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert has_digest(tmp_path / "file", f"sha256:{SHA256}")
    assert has_digest(tmp_path / "file", f"md5:{hashlib.md5(CONTENT).hexdigest()[:8]}")
    assert not has_digest(tmp_path / "file", "md5:00000000")
    assert not has_digest(tmp_path / "file", "sha256:")


def test_offline_names_the_address_and_the_place(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LowzooError, match="HF_HUB_OFFLINE") as caught:
        download(address(server, "?sig=secret"), "file.pth")
    assert address(server) in caught.value.message
    assert str(downloads_folder() / "file.pth") in caught.value.remedy
    assert "secret" not in str(caught.value)
    assert server.requests == []
    downloads_folder().mkdir()
    (downloads_folder() / "file.pth").write_bytes(b"by hand")
    assert download(address(server), "file.pth").read_bytes() == b"by hand"


def test_two_at_once_fetch_once(server: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = [future.result() for future in [pool.submit(download, address(server), "file.pth") for _ in range(2)]]
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_only_https_is_followed(server: Server) -> None:
    with pytest.raises(LowzooError, match="no https address"):
        download("http://example.org/file.pth", "file.pth")
    server.location = "http://example.org/file.pth?sig=secret"
    with pytest.raises(LowzooError, match="no https address") as caught:
        download(address(server), "file.pth")
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_noticed_before(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = module.shutil.disk_usage(downloads_folder().parent)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(LowzooError, match="more than are free"):
        download(address(server), "file.pth")


def test_no_connection_is_one_line(server: Server) -> None:
    with pytest.raises(LowzooError, match="cannot be reached") as caught:
        download("http://127.0.0.1:1/file.pth", "file.pth")
    assert str(downloads_folder() / "file.pth") in caught.value.remedy


def test_a_place_that_cannot_be_written_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "downloads").write_text("a file")
    with pytest.raises(LowzooError, match="cannot store"):
        download(address(server), "file.pth")
