"""SIGTERM and SIGINT: how a command is asked to end, and what its process then gives back to who asked.

A scheduler that takes a machine away sends SIGTERM and kills after a grace period. Without a handler Python dies on the
spot: temporary files stay, and data workers live on until they notice. Here SIGTERM becomes an exception, as SIGINT
always was; a training run asks `StopRequest` at the end of each step instead.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Schedulers and torchrun repeat a signal that a whole group of processes has had already.
_SAME = 2.0
_WORKERS_GRACE = 60
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The command was asked to end and has done what it had to; no error, so no `except Exception` takes it.

    Args:
        number: Number of the signal.
        message: One line for the user; what the signal was, if absent.
        told: Another process tells the user.
    """

    def __init__(self, number: int, message: str = "", *, told: bool = False) -> None:
        self.number, self.told = number, told
        self.message = message or {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}.get(
            signal.Signals(number), f"ended by {name_of(number)}"
        )
        super().__init__(self.message)

    @property
    def status(self) -> int:
        """The exit status that a shell gives a process of this end."""
        return 128 + self.number


class StopRequest:
    """Remembers that a signal asked for the end; a second one, 2 seconds after the first, ends the process at once.

    Args:
        tell: Also called with the signal's number, for processes that have to hear of it.
    """

    def __init__(self, tell: Callable[[int], None] = lambda _: None) -> None:
        self.number = 0
        self._tell = tell
        self._since = 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Listen while the block runs; of use in the main thread alone, where Python hears signals."""
        with _handling(dict.fromkeys(_SIGNALS, self._hear)):
            yield self

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.number and time.monotonic() - self._since > _SAME:
            end_at_once(number)
        if not self.number:
            self.number, self._since = number, time.monotonic()
        self._tell(number)


@contextlib.contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """While the block runs, SIGTERM raises `Stopped`, so that what has to be tidied is tidied."""
    with _handling({signal.SIGTERM: _raise}):
        yield


def leave_signals_to_the_parent() -> None:
    """For a data worker: a signal to the whole group is the parent's to answer, which then ends its workers.

    Else the parent would find them gone in the middle of the step that it wants to finish. One that has been told to
    end and is not gone after a minute goes by itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_WORKERS_GRACE))


def end_at_once(number: int) -> None:
    """End this process and its workers without tidying up."""
    import multiprocessing

    for child in multiprocessing.active_children():
        child.kill()
    os._exit(128 + number)


def name_of(number: int) -> str:
    """SIGTERM, SIGINT, ..."""
    return signal.Signals(number).name


def _raise(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
