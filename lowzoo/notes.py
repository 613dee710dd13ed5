"""Lines for the reader that no result carries: what was chosen or left out on the way, on stderr, each once a process."""

import sys
from functools import cache


@cache
def say_once(text: str) -> None:
    """Print a line to stderr, the first time it is given."""
    print(f"lowzoo: {text}", file=sys.stderr)
