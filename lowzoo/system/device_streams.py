"""Streams of a GPU that is not there: what runs beside what, and whether each waits for what it needs.

A GPU runs a stream's work in order, and that of several streams side by side. `Streams` follows who wrote each storage,
and what each stream has waited for (by vector clocks), and names two mistakes that a real GPU would answer with wrong
numbers now and then: a stream that reads what another one may still be writing, and a stream that uses memory of
another one without `Tensor.record_stream`, which that one may give to something else meanwhile.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor


class Streams:
    """Follows the work of streams.

    Args:
        note: Takes the kind of a mistake, "race" or "lent", and the operation that makes it.
    """

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note = note
        self.now = 0
        self._streams = 1
        self._clocks: dict[int, Counter[int]] = {0: Counter()}
        # By storage: stream and time of the last write, the stream whose memory it is, and others that were told of it.
        self._written: dict[int, tuple[int, int]] = {}
        self._owner: dict[int, int] = {}
        self._shared: dict[int, set[int]] = {}

    def work(self, operation: str, read: Iterable[int], written: Iterable[int]) -> None:
        """An operation of the current stream on storages, by their keys."""
        clock = self._clocks[self.now]
        clock[self.now] += 1
        for key in read:
            stream, time = self._written.get(key, (self.now, 0))
            if stream != self.now and clock[stream] < time:
                self._note("race", operation)
            if self._owner.get(key, self.now) != self.now and self.now not in self._shared.get(key, ()):
                self._note("lent", operation)
        for key in written:
            self._written[key] = self.now, clock[self.now]
            self._owner.setdefault(key, self.now)

    def died(self, key: int) -> None:
        """A storage is gone; its number may come again."""
        for held in (self._written, self._owner, self._shared):
            held.pop(key, None)

    def share(self, tensor: Tensor, stream: "_Stream") -> None:
        """What `Tensor.record_stream` does."""
        self._shared.setdefault(tensor.untyped_storage()._cdata, set()).add(stream.number)

    def patches(self) -> Iterator[Any]:
        """What has to be replaced while work is followed."""
        streams = self

        def new(*_: Any, **__: Any) -> _Stream:
            number = streams._streams
            streams._streams += 1
            streams._clocks[number] = Counter()
            return _Stream(streams, number)

        @contextlib.contextmanager
        def within(stream: _Stream | None) -> Iterator[None]:
            before = streams.now
            streams.now = before if stream is None else stream.number
            try:
                yield
            finally:
                streams.now = before

        def current(*_: Any) -> _Stream:
            return _Stream(streams, streams.now)

        def default(*_: Any) -> _Stream:
            return _Stream(streams, 0)

        def event(**_: Any) -> _Event:
            return _Event(streams)

        yield mock.patch.object(torch.cuda, "Stream", new)
        yield mock.patch.object(torch.cuda, "stream", within)
        yield mock.patch.object(torch.cuda, "current_stream", current)
        yield mock.patch.object(torch.cuda, "default_stream", default)
        yield mock.patch.object(torch.cuda, "Event", event)
        # A function, so that tensors bind it as their method.
        yield mock.patch.object(Tensor, "record_stream", lambda tensor, stream: streams.share(tensor, stream))


class _Event:
    """A mark in a stream."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.clock: Counter[int] = Counter()

    def record(self, stream: "_Stream | None" = None) -> None:
        """Mark where a stream is."""
        self.clock = Counter(self._streams._clocks[self._streams.now if stream is None else stream.number])

    def wait(self, stream: "_Stream | None" = None) -> None:
        """Let a stream wait for the mark."""
        (stream or _Stream(self._streams, self._streams.now)).wait_event(self)

    def elapsed_time(self, _: "_Event") -> float:
        """Milliseconds: none."""
        return 0.0


class _Stream:
    """A stream by its number; 0 is the default one."""

    def __init__(self, streams: Streams, number: int) -> None:
        self._streams, self.number = streams, number

    def record_event(self, event: _Event | None = None) -> _Event:
        """Mark where this stream is."""
        event = event or _Event(self._streams)
        event.record(self)
        return event

    def wait_event(self, event: _Event) -> None:
        """Go on after the mark."""
        self._streams._clocks[self.number] |= event.clock

    def wait_stream(self, other: "_Stream") -> None:
        """Go on after all that another stream has been given so far."""
        self.wait_event(other.record_event())
