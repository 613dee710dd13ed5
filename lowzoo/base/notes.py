"""Lines for the reader that no result carries: what was chosen or left out on the way.

They are warnings of one class, so that a program can filter or collect them; the command line prints each once, as a
note on stderr.
"""

import sys
import warnings
from typing import Any

from lowzoo.base.errors import LowzooWarning


def say_once(text: str) -> None:
    """Warn of something that was decided or left out for the caller."""
    warnings.warn(text, LowzooWarning, stacklevel=2)


def print_notes() -> None:
    """Print what lowzoo says as a line without a place in the code, each once; other packages' warnings as ever."""
    before, said = warnings.showwarning, set[str]()

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, LowzooWarning):
            before(message, category, *rest, **more)
        elif (text := " ".join(str(message).split())) not in said:
            said.add(text)
            print(f"lowzoo: note: {text}", file=sys.stderr)

    warnings.showwarning = show
    # Python itself forgets what it has shown whenever somebody changes a filter, so `said` sees to it.
    warnings.simplefilter("always", LowzooWarning)
