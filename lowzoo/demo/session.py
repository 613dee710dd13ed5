"""One run of the page, from an ONNX file to the phones that came."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base.progress import Say, in_minutes
from lowzoo.bench.results.lines import model_words
from lowzoo.demo.certificate import certificate_for, require_certificates
from lowzoo.demo.room import MAX_BODY, MAX_PHONES, Room, Visit
from lowzoo.demo.subject import open_subject
from lowzoo.serving.invitation import invite
from lowzoo.serving.place import Serving
from lowzoo.serving.runtime import Runtime, from_cdn, from_folder
from lowzoo.serving.server import LOCAL, Content, PageServer, contents_of, lan_address, page_of, require_door

POLL_S = 0.2
# What a browser holds to a page while it loads, and some to spare.
CONNECTIONS = 8 * MAX_PHONES


@dataclass(frozen=True)
class Door:
    """What serving needs beside a file, found before anything is exported; see `door`.

    Args:
        place: Where and how long.
        host: Address to listen on.
        runtime: The onnxruntime-web that pages load.
        own_certificate: Serve by https with a certificate made for this run.
    """

    place: Serving
    host: str
    runtime: Runtime
    own_certificate: bool


def door(place: Serving, *, own_certificate: bool = False) -> Door:
    """Find out whether a page can be served there.

    Raises:
        LowzooError: onnxruntime-web is not there, there is no network, the port is taken, the certificate cannot be
            read, or nothing makes certificates.
    """
    if own_certificate:
        require_certificates()
    runtime = from_folder(place.ort_dist) if place.ort_dist else from_cdn()
    host = lan_address() if place.lan else LOCAL
    require_door(host, place.port, place.certificate)
    return Door(place, host, runtime, own_certificate)


class TeachingRoom:
    """A file that pages are taught on.

    Args:
        artifact: The ONNX file.
        door: Where and how it is served.

    Raises:
        LowzooError: A page cannot teach the file.
    """

    def __init__(self, artifact: Path, door: Door) -> None:
        self.door, self.place, self.runtime = door, door.place, door.runtime
        self.subject = open_subject(artifact)
        self.room = Room()
        self.model = model_words(self.subject.file.facts())

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[PageServer, str]]:
        """Serve; gives the server, and the fingerprint of the certificate that was made, or "".

        Raises:
            LowzooError: The port is taken, or there is no certificate.
        """
        contents = {
            **page_of("lowzoo.demo"),
            **contents_of(self.runtime),
            "task": Content("application/json", json.dumps(self.subject.task(self.runtime)).encode()),
            "model": Content("application/octet-stream", self.subject.file.path.read_bytes()),
        }
        with contextlib.ExitStack() as stack:
            certificate, fingerprint = self.place.certificate, ""
            if self.door.own_certificate:
                made = certificate_for(self.door.host, self.place.minutes)
                certificate, fingerprint = stack.enter_context(made)
            server = PageServer(
                self.room.take,
                contents,
                host=self.door.host,
                port=self.place.port,
                origin=self.runtime.origin,
                certificate=certificate,
                max_body=MAX_BODY,
                connections=CONNECTIONS,
            )
            stack.close()  # it is loaded, and its key need not lie on the disk any longer
            with server:
                yield server, fingerprint

    def serve(self, say: Say, wait: Callable[[float], None] = time.sleep) -> Visit:
        """Serve until the time is over or Ctrl-C, and say who comes.

        Args:
            say: Takes lines.
            wait: Waits so many seconds.
        """
        interrupted = False
        with self.serving() as (server, fingerprint):
            self._invite(server, fingerprint, say)
            end = time.monotonic() + 60 * self.place.minutes
            said: dict[int, str] = {}
            try:
                while time.monotonic() < end:
                    for line in self.room.news(said):
                        say(line)
                    wait(POLL_S)
            except KeyboardInterrupt:
                interrupted = True
        return Visit(self.model, self.room.phones(), interrupted, self.room.forgotten)

    def _invite(self, server: PageServer, fingerprint: str, say: Say) -> None:
        say(f"Model: {self.model}; onnxruntime-web {self.runtime.version} from {self.runtime.source}")
        invite(
            server.url,
            say,
            lan=self.place.lan,
            secure=server.scheme == "https",
            insecurely="Over plain http a phone's page has no live camera and takes photographs one by one; "
            "--https gives it.",
        )
        if fingerprint:
            say("The browser warns that nobody vouches for the certificate, which was made for this run. Its SHA-256:")
            say(f"  {fingerprint}")
        say("Pictures, names and what is learned stay on the phones.")
        say(f"Ends after {in_minutes(self.place.minutes)}, or by Ctrl-C.")
