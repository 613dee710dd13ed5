"""Processes that a run starts from a script or a notebook: what they must not run again, and how they are heard.

A spawned process imports the script that started it, because something it is given could be defined there. A script
that trains without `if __name__ == "__main__":` would then train again in each process. Most runs are given nothing of
the script's own, so it is kept out of their sight; where it is needed, the call that is run again says so.
"""

import contextlib
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import ModuleType

from lowzoo.base.errors import LowzooError

Say = Callable[[str], None]


def refuse_rerun() -> None:
    """Refuse to train in a process that is only importing the script which started it.

    Raises:
        LowzooError: It is one.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise LowzooError(
            "a process that the training started runs the script again, as it needs something that is defined there",
            'Put the call under `if __name__ == "__main__":`, or what is needed into a module',
        )


def needs_script(*given: object) -> bool:
    """Whether any of these is defined in the script, so that another process has to import it."""
    try:
        return b"__main__" in pickle.dumps(given)
    except Exception:  # said where it is handed over
        return True


@contextlib.contextmanager
def script_hidden(wanted: bool = True) -> Iterator[None]:
    """Let processes that are started in the block not import the script."""
    script = sys.modules.get("__main__")
    if not wanted or script is None:
        yield
        return
    empty = ModuleType("__main__")
    empty.__spec__ = None
    sys.modules["__main__"] = empty
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class Relay:
    """Hands lines to the process that started this one.

    Args:
        line: Its end of a pipe.
        bars: Whether bars may be shown on stderr.
    """

    def __init__(self, line: Connection, bars: bool) -> None:
        self._line, self.bars = line, bars

    def __call__(self, text: str) -> None:
        """Hand over a line."""
        with contextlib.suppress(OSError):  # nobody listens any more, and the run goes on
            self._line.send(text)


@contextlib.contextmanager
def relayed(say: Say) -> Iterator[tuple[Relay, Callable[[], None]]]:
    """Hear in this process what one of those started in the block says.

    Args:
        say: Takes each line, in a thread of this process.

    Yields:
        What the other process calls, and what to call here once it has been started.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                say(ours.recv())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield Relay(theirs, bool(getattr(say, "bars", False))), theirs.close
    finally:
        theirs.close()  # the end of the last process is then the end of the line
        thread.join(_PATIENCE)
        ours.close()


# Seconds to wait for the last lines of processes that have ended.
_PATIENCE = 10.0
