"""Words that name a set by a scheme, such as `hf:ORG/NAME`: who finds what stands behind it.

Another package declares a scheme by an entry point of the group `lowzoo.sources` that gives a `Scheme`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowzoo.base.lazy import resolved_place
from lowzoo.base.registry import Registry
from lowzoo.data.reading.found import Found
from lowzoo.data.reading.options import SourceOptions
from lowzoo.data.reading.reader import Part

Splits = tuple[str, dict[str, Part], Found]
"""A set's name, what opens it for each of its splits, and what it was made from, as far as that shows by then."""


@dataclass(frozen=True)
class Scheme:
    """A way to name sets.

    Args:
        name: What stands before the colon.
        find: (word, options) -> `Splits`, or "module:function" of it; the word has its scheme.
    """

    name: str
    find: Callable[[str, SourceOptions], Splits] | str

    def splits(self, source_spec: str, options: SourceOptions) -> Splits:
        """Find what a word of this scheme means."""
        found: Any = resolved_place(self.find)(source_spec, options)
        name, parts, what = found
        return name, parts, what


SCHEMES: Registry[Scheme] = Registry(
    Scheme,
    "scheme of sources",
    "lowzoo.sources",
    {
        "hf": Scheme("hf", "lowzoo.data.splits:of_datasets"),
        "hf-stream": Scheme("hf-stream", "lowzoo.data.splits:of_stream"),
    },
)


def scheme_of(source_spec: str) -> Scheme | None:
    """The scheme of a word; None where it has none, as paths and addresses."""
    name, colon, _ = source_spec.partition(":")
    return SCHEMES[name] if colon and name in SCHEMES else None
