"""Latency targets: a file each in this folder that declares the target's engines, options and how it runs.

A declaration imports nothing heavy. The next target is a file here that gives `TARGET`. Another package declares one by
an entry point of the group `lowzoo.targets`; `lowzoo bench --on NAME` then knows it as it knows ours.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowzoo.base.lazy import entries_in_folder, resolved_place
from lowzoo.base.registry import Registry

if TYPE_CHECKING:
    from lowzoo.base.progress import Say
    from lowzoo.bench.results.protocol import Protocol
    from lowzoo.bench.results.schema import BenchResult
    from lowzoo.preprocess.input_facts import Side


@dataclass(frozen=True)
class Request:
    """What a target is asked.

    Args:
        model: A file, a MODEL word, a network, or what `lowzoo.load` gave.
        engine: One of the target's.
        protocol: How long and how often.
        threads: Numbers of threads, a result each.
        untrained: Leave the weights random.
        size: Side of the network's input in pixels, or (height, width); its own if None.
        options: The target's own options, those of `Target.options` and `Target.settings`.
        say: Takes lines.
        interrupted: To be called if Ctrl-C ended it, and there are results all the same.
    """

    model: Any
    engine: str
    protocol: "Protocol"
    threads: tuple[int, ...]
    untrained: bool
    size: "Side | None"
    options: Mapping[str, Any]
    say: "Say"
    interrupted: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def artifact(self, suffix: str) -> Iterator[Path]:
        """Give the file to time: the model if it is one, else an export of it in a temporary folder."""
        from lowzoo.bench.subjects.exported import artifact_of

        with artifact_of(self.model, suffix, untrained=self.untrained, size=self.size, say=self.say) as path:
            yield path


@dataclass(frozen=True)
class Target:
    """A latency target. A hook is a function, or "module:function".

    Args:
        name: What `--on` takes.
        engines: What `--engine` takes, the default first; or a hook that gives them.
        runner: Hook (request) -> results.
        needs: What one must have for it, for people.
        options: Those arguments of `lowzoo.bench.latency` that are for this target and perhaps others.
        settings: Further settings of its own, by `--set NAME=VALUE`, with their defaults as text.
        shower: Hook (results) -> lines for people; one result after the other if None.
    """

    name: str
    engines: tuple[str, ...] | str
    runner: "Callable[[Request], Sequence[BenchResult]] | str"
    needs: str = "nothing"
    options: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    shower: "Callable[[Sequence[BenchResult]], Iterator[str]] | str | None" = None

    def all_engines(self) -> tuple[str, ...]:
        """What `--engine` takes."""
        return tuple(resolved_place(self.engines)()) if isinstance(self.engines, str) else self.engines

    def run(self, request: Request) -> "tuple[BenchResult, ...]":
        """Time the model."""
        return tuple(resolved_place(self.runner)(request))


class _WithNeeds:
    """The targets as the help lists them."""

    def names(self) -> list[str]:
        """Each name, and what one must have for it."""
        return [
            each.name if each.needs == "nothing" else f"{each.name} (needs {each.needs})" for each in TARGETS.specs()
        ]


WITH_NEEDS = _WithNeeds()
TARGETS = Registry(
    Target,
    "target",
    "lowzoo.targets",
    entries_in_folder(__name__, "TARGET", first=("host", "browser", "android", "iphone", "cloud")),
)
