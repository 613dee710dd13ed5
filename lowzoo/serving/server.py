"""The server of a page: its files, one model, one door for what is posted, all behind a token.

Standard library only. A request for anything that is not listed gets a plain 404, as does one with another token or
another Host (a name that a hostile page has pointed at this address). Whoever has the link may post, so bodies are
limited in size, requests in rate, connections in number (in all, and from one address of the network), and every one
in the time that it may be silent.
"""

import hmac
import json
import secrets
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lowzoo.base.errors import LowzooError, first_misfit
from lowzoo.serving.runtime import Runtime

MAX_BODY = 4_000_000
# A browser holds up to six connections to a page, and keeps them for a while.
MAX_CONNECTIONS = 64
SILENCE_S = 20.0
LOCAL = "127.0.0.1"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PART = 2**16
# Posts that one address may make: at once, and a second after that.
BURST = 60.0
PER_SECOND = 5.0
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
Take = Callable[[bytes, str], Mapping[str, object]]
"""Takes what was posted and from which address, and gives what is answered."""


@dataclass(frozen=True)
class Content:
    """Something to serve: a type, and bytes or the file that holds them."""

    type: str
    body: bytes | Path


def page_of(package: str) -> dict[str, Content]:
    """The files of a package's folder `page` and those that all pages share; `index.html` is the page itself.

    What an editor or a file manager has left there is not served.
    """
    found = {}
    for owner in ("lowzoo.serving", package):
        for file in (files(owner) / "page").iterdir():
            if (kind := _TYPES.get(f".{file.name.rpartition('.')[2]}")) and not file.name.startswith("."):
                found["" if file.name == "index.html" else file.name] = Content(kind, file.read_bytes())
    return found


def contents_of(runtime: Runtime) -> dict[str, Content]:
    """The files of onnxruntime-web that lowzoo serves itself; none of the CDN's copy."""
    return {
        f"ort/{file.name}": Content("application/wasm" if file.name.endswith(".wasm") else "text/javascript", file.path)
        for files in runtime.backends.values()
        for file in files
        if file.path is not None
    }


class PageServer:
    """Serves until it is closed.

    Args:
        take: Takes what is posted; a `ValidationError` or a `LowzooError` of it is answered as a refusal.
        contents: What is served, by the path behind the token; the page itself at "".
        host: Address to listen on.
        port: 0 finds a free one.
        origin: Another one that scripts may be fetched from; None for none.
        certificate: PEM file of a certificate and its key, for https.
        max_body: Bytes of a post at most.
        connections: Connections at a time at most; a quarter of them from one address of the network.

    Raises:
        LowzooError: The port is taken, or the certificate cannot be read.
    """

    def __init__(
        self,
        take: Take,
        contents: Mapping[str, Content],
        *,
        host: str = LOCAL,
        port: int = 0,
        origin: str | None = None,
        certificate: Path | None = None,
        max_body: int = MAX_BODY,
        connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.take = take
        self.max_body = max_body
        self.token = secrets.token_urlsafe(16)
        self.contents = dict(contents)
        self.policy = _policy(origin)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self.slots = Slots(connections, connections if is_local(host) else max(1, connections // 4))
        context = None if certificate is None else _tls(certificate)
        try:
            self._server = _Server((host, port), _Handler, self)
        except OSError as error:
            raise _taken(host, port, error) from error
        if context is not None:
            # The handshake is left to the connection's thread: a client that never speaks must not stop the others.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.scheme = "https" if certificate else "http"
        self.hosts = hosts_of(host, self._server.server_port, self.scheme)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """The link to open."""
        host, port = self._server.server_address[:2]
        return f"{self.scheme}://{host!s}:{port}/{self.token}/"

    def __enter__(self) -> "PageServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def may_post(self, address: str) -> bool:
        """Whether an address has posted less than it may."""
        now = time.monotonic()
        with self._lock:
            left, seen = self._buckets.get(address, (BURST, now))
            left = min(BURST, left + (now - seen) * PER_SECOND)
            self._buckets[address] = (left - 1 if left >= 1 else left, now)
            return left >= 1


class Slots:
    """Connections that are open, counted in all and by address.

    Args:
        most: At a time at most.
        most_each: From one address.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self.most, self.most_each = most, most_each
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Whether one more may be opened, which is counted then."""
        with self._lock:
            free = self._open.total() < self.most and self._open[address] < self.most_each
            self._open[address] += free
            return free

    def give_back(self, address: str) -> None:
        """One of an address has ended."""
        with self._lock:
            self._open[address] -= 1
            self._open += Counter()  # an address that holds none is forgotten


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], pages: PageServer) -> None:
        self.pages = pages
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Refuse a connection when there are too many, without a thread for it."""
        if not self.pages.slots.take(client_address[0]):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.pages.slots.give_back(client_address[0])
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the slot back at the end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.pages.slots.give_back(client_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback: devices vanish in the middle of requests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "lowzoo"
    sys_version = ""
    timeout = SILENCE_S

    def do_GET(self) -> None:
        path = self._path()
        content = None if path is None else self.server.pages.contents.get(path)
        if content is None:
            self._answer(404, "text/plain", b"not found\n")
        elif isinstance(content.body, bytes):
            self._answer(200, content.type, content.body)
        else:
            self._answer(200, content.type, content.body.read_bytes())

    def do_HEAD(self) -> None:
        self._answer(405, "text/plain", b"")

    def do_POST(self) -> None:
        pages = self.server.pages
        address = self.client_address[0]
        if self._path() != "report" or not self._same_origin():
            self._refuse(404, "not found")
        elif not pages.may_post(address):
            self._refuse(429, "too many requests")
        elif not (self.headers.get("Content-Length") or "").isdecimal():
            self._refuse(411, "Content-Length is missing")
        elif (length := int(self.headers["Content-Length"])) > pages.max_body:
            self._refuse(413, f"more than {pages.max_body} bytes")
        else:
            self._take(self.rfile.read(length), address)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the terminal shows devices, not requests."""

    def _take(self, body: bytes, address: str) -> None:
        try:
            answer = self.server.pages.take(body, address)
        except ValidationError as error:
            self._refuse(400, f"not understood ({first_misfit(error)[1]})")
        except LowzooError as error:
            self._refuse(409, str(error))
        else:
            self._answer(200, "application/json", json.dumps(answer).encode())

    def _path(self) -> str | None:
        """What stands behind the token; None for another token or another host."""
        pages = self.server.pages
        first, slash, rest = self.path.partition("?")[0].removeprefix("/").partition("/")
        known = hmac.compare_digest(first.encode(), pages.token.encode())
        return rest if known and slash and self.headers.get("Host") in pages.hosts else None

    def _same_origin(self) -> bool:
        origin = self.headers.get("Origin")
        return origin is None or origin in {f"{self.server.pages.scheme}://{host}" for host in self.server.pages.hosts}

    def _refuse(self, status: int, reason: str) -> None:
        # The body was not read, so nothing that follows on this connection could be understood.
        self.close_connection = True
        self._answer(status, "application/json", json.dumps({"error": reason}).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            # Threads need shared memory, which browsers give to isolated pages only.
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": self.server.pages.policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **({"Connection": "close"} if self.close_connection else {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        # A time-out holds for one call, whatever it sends: a model in one call would be cut off on a slow network.
        whole = memoryview(body)
        for start in range(0, len(whole), _PART):
            self.wfile.write(whole[start : start + _PART])


def _policy(origin: str | None) -> str:
    other = f" {origin}" if origin else ""
    return (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; worker-src 'self' blob:; "
        f"script-src 'self' blob: 'wasm-unsafe-eval'; connect-src 'self' blob: data:{other}"
    )


def hosts_of(host: str, port: int, scheme: str) -> set[str]:
    """What browsers may call the server: at the scheme's own port they leave the port out."""
    names = {host, *(("localhost",) if is_local(host) else ())}
    return {f"{name}:{port}" for name in names} | (names if port == _DEFAULT_PORTS[scheme] else set())


def require_door(host: str, port: int, certificate: Path | None) -> None:
    """Find out whether a page can be served there, before any work is done for it.

    Raises:
        LowzooError: The port is taken, or the certificate cannot be read.
    """
    if certificate is not None:
        _tls(certificate)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        raise _taken(host, port, error) from error


def _taken(host: str, port: int, error: OSError) -> LowzooError:
    return LowzooError(f"cannot listen on {host}:{port} ({error.strerror or error})", "Name another --port")


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise LowzooError(
            f"{certificate} holds no certificate with its key ({error})", "Name a PEM file that holds both"
        ) from error
    return context


def lan_address() -> str:
    """The address of this computer that others in its network reach; no packet is sent to find it.

    Raises:
        LowzooError: There is no network.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: only the route is looked up
            address = str(probe.getsockname()[0])
        except OSError:
            address = LOCAL
    if is_local(address):
        raise LowzooError("this computer is in no network", "Connect it, or leave out --lan")
    return address


def is_local(host: str) -> bool:
    """Whether an address is of this computer alone."""
    return host.startswith("127.")
