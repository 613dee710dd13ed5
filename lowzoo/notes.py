"""Lines for the reader that no result carries, on stderr: what was chosen or left out on the way."""

import sys
from functools import cache


@cache
def say_once(text: str) -> None:
    """Print a line to stderr, the first time it is given."""
    print(f"lowzoo: {text}", file=sys.stderr)
