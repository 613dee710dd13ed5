"""Who has joined: what a page may post, and the lines that the terminal shows of it.

A page tells that it is there, whose browser it is, how many things it has learned from how many pictures, whether its
camera is on, how long a picture takes, and how often its file was downloaded; neither pictures nor names nor features,
and a message that holds anything else is refused.
"""

import dataclasses
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lowzoo.base.errors import LowzooError
from lowzoo.bench.browser.messages import Facts, Milliseconds, Text
from lowzoo.bench.browser.results import device_title

MAX_PHONES = 32
MAX_KNOWN = 500
MAX_BODY = 4_000
# A page says every 20 s that it is there.
SILENT_S = 60.0


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hello(_Message):
    """A page is open and has loaded its model."""

    type: Literal["hello"]
    facts: Facts
    threads: Annotated[int, Field(ge=1, le=256)]


class State(_Message):
    """How far a page is.

    Args:
        camera: "live" while it is used, "refused" by the person or the system, "none" where the browser gives none.
        ms: Milliseconds a picture, of the last ones; null before the first.
    """

    type: Literal["state"]
    phone: Annotated[str, Field(max_length=32)]
    things: Annotated[int, Field(ge=0, le=1000)]
    pictures: Annotated[int, Field(ge=0, le=100_000)]
    camera: Literal["off", "live", "refused", "none"]
    ms: Milliseconds | None
    downloads: Annotated[int, Field(ge=0, le=100_000)]


class Failed(_Message):
    """The page cannot work there."""

    type: Literal["failed"]
    facts: Facts
    reason: Text


class Gone(_Message):
    """The page was closed."""

    type: Literal["gone"]
    phone: Annotated[str, Field(max_length=32)]


Message = Hello | State | Failed | Gone
MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


@dataclass(frozen=True)
class Phone:
    """One page.

    Args:
        number: In order of arrival, from 1.
        title: What its browser tells of the device.
        threads: Threads that run the network.
        state: What it said last; None before that.
        end: "gone", why it failed, or None.
        heard: Seconds of the clock when it last said something.
    """

    number: int
    title: str
    threads: int
    heard: float
    state: State | None = None
    end: str | None = None

    def words(self, clock: float, *, timed: bool = True) -> str:
        """What it does, in a few words; with its last milliseconds where they are wanted."""
        if self.end is not None:
            return self.end
        said = self.state
        if said is None:
            words = "has joined"
        else:
            words = f"{_count(said.things, 'thing')}, {_count(said.pictures, 'picture')}"
            words += f", {said.ms:.0f} ms a picture" if timed and said.ms is not None else ""
            words += {"live": ", camera on", "refused": ", camera refused", "none": ", no camera", "off": ""}[
                said.camera
            ]
            words += f", {_count(said.downloads, 'download')}" if said.downloads else ""
        return f"{words}; not heard of for a while" if clock - self.heard > SILENT_S else words


@dataclass(frozen=True)
class Visit:
    """Who came while the page was served.

    Args:
        model: What was served.
        phones: In order of arrival.
        interrupted: Whether it was ended by Ctrl-C; else its time was over.
        forgotten: How many that came before are in `phones` no longer.
    """

    model: str
    phones: tuple[Phone, ...]
    interrupted: bool
    forgotten: int = 0

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        rows = [
            {
                "title": phone.title,
                "threads": phone.threads,
                "state": phone.state.model_dump(exclude={"type", "phone"}) if phone.state else None,
                "end": phone.end,
            }
            for phone in self.phones
        ]
        return {
            "schema": "lowzoo.demo_visit/1",
            "model": self.model,
            "interrupted": self.interrupted,
            "phones": rows,
            "forgotten": self.forgotten,
        }

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """What the command prints at the end. A page that is loaded again is another page of the same phone."""
        came = self.forgotten + sum(phone.threads > 0 for phone in self.phones)
        yield f"{_count(came, 'page')} joined." if came else "No page has joined."


class Room:
    """Takes messages and keeps what they say. Called by the server's threads.

    Args:
        clock: Seconds, monotonic.

    Attributes:
        forgotten: How many that have joined and are gone or silent are kept no longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._phones: dict[str, Phone] = {}
        self._count = 0
        self.forgotten = 0

    def take(self, body: bytes, _: str) -> dict[str, object]:
        """Keep what a message says.

        Returns:
            What the page is answered.

        Raises:
            pydantic.ValidationError: It is none.
            LowzooError: It does not fit what came before.
        """
        message = MESSAGE.validate_json(body)
        with self._lock:
            if isinstance(message, (Hello, Failed)):
                return self._welcome(message)
            phone = self._phones.get(message.phone)
            if phone is None or phone.end is not None:
                raise LowzooError("no such phone has joined", "Open the link again")
            changed = {"state": message} if isinstance(message, State) else {"end": "gone"}
            self._phones[message.phone] = dataclasses.replace(phone, heard=self._clock(), **changed)
            return {}

    def phones(self) -> tuple[Phone, ...]:
        """All of them, in order of arrival."""
        with self._lock:
            return tuple(self._phones.values())

    def news(self, said: dict[int, str]) -> Iterator[str]:
        """A line for each phone that does something else than was said of it.

        Args:
            said: What was said of each number; is brought up to date. Milliseconds alone are no news.
        """
        clock = self._clock()
        for phone in self.phones():
            words = phone.words(clock, timed=False)
            if said.get(phone.number) != words:
                said[phone.number] = words
                yield f"phone {phone.number} ({phone.title}): {phone.words(clock)}"

    def _welcome(self, message: Hello | Failed) -> dict[str, object]:
        # Whoever loads the page again comes as another phone. Those that left, or went silent without a word, take no
        # place, and are forgotten before anybody is refused: first those that said so.
        silent = self._clock() - SILENT_S
        left = [name for name, phone in self._phones.items() if phone.end is not None]
        left += [name for name, phone in self._phones.items() if phone.end is None and phone.heard < silent]
        if len(self._phones) - len(left) >= MAX_PHONES:
            raise LowzooError(f"{MAX_PHONES} phones are here already", "Close the page on one of them")
        for name in left[: max(0, len(self._phones) + 1 - MAX_KNOWN)]:
            self.forgotten += self._phones.pop(name).threads > 0
        self._count += 1
        name = secrets.token_hex(4)
        failed = f"cannot run it: {message.reason}" if isinstance(message, Failed) else None
        threads = message.threads if isinstance(message, Hello) else 0
        title = device_title(message.facts)
        self._phones[name] = Phone(self._count, title, threads, self._clock(), end=failed)
        return {"phone": name}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
