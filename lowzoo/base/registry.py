"""Extension points: what there is of a kind by name, from this package and from others.

A registry maps a name to a declared spec: a frozen object that says what a recipe, an export format or a latency
target needs and how it is made. The package's own entries are "module:attribute" until they are used. Other packages
add theirs by an entry point whose group is the registry's, as pytest's plug-ins do:

    [project.entry-points."lowzoo.recipes"]
    toy = "lowzoo_toy:TOY"

Listing names imports no plug-in, and one that is broken or takes a name that is taken breaks nothing but itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from lowzoo.base.errors import LowzooError, near_matches, reason_of
from lowzoo.base.lazy import resolved_place
from lowzoo.base.notes import say_once


class Named(Protocol):
    """What every spec has: the name by which it is registered."""

    @property
    def name(self) -> str:
        """Its name, equal to that of its entry."""


S = TypeVar("S", bound=Named)


@dataclass(frozen=True)
class Plugin:
    """An entry of another package, not imported yet.

    Args:
        entry_point: Where the spec stands.
        distribution: Name and version of the package that declares it, for messages.
    """

    entry_point: EntryPoint
    distribution: str


class Registry(Generic[S]):
    """The specs of one kind, by name.

    Args:
        kind: Spec class; what an entry gives has to be an instance of it.
        what: The kind for people, e.g. "recipe".
        group: Group of entry points by which other packages add entries, e.g. "lowzoo.recipes".
        builtin: Names of the package's own entries and where they stand, as "module:attribute", or the specs
            themselves where they cost nothing to import.
    """

    def __init__(self, kind: type[S], what: str, group: str, builtin: Mapping[str, str] | Mapping[str, S]) -> None:
        self.kind, self.what, self.group = kind, what, group
        self._builtin: dict[str, str | S] = {**builtin}
        self._specs: dict[str, S] = {}
        self._added: dict[str, S] = {}
        self._plugins: dict[str, list[Plugin]] | None = None

    def names(self) -> list[str]:
        """All names, the package's own first; imports no entry. A plug-in whose name is taken is said, not listed."""
        plugins = [name for name, claims in sorted(self._found().items()) if len(claims) == 1]
        return [*self._builtin, *self._added, *(name for name in plugins if name not in self._added)]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __getitem__(self, name: str) -> S:
        """The spec of that name, imported now if it was not yet.

        Raises:
            LowzooError: An unknown name with near ones, or a plug-in that cannot be used, with its distribution.
        """
        if name in self._added:
            return self._added[name]
        if name not in self._specs:
            self._specs[name] = self._load(name)
        return self._specs[name]

    def specs(self) -> list[S]:
        """All specs in the order of their names; a plug-in that cannot be used is said once and left out."""
        found = []
        for name in self.names():
            try:
                found.append(self[name])
            except LowzooError as error:
                if name in self._builtin:
                    raise
                say_once(str(error))
        return found

    def add(self, spec: S) -> S:
        """Add a spec for this process alone, e.g. from a notebook; another package declares an entry point instead.

        Raises:
            LowzooError: The name is taken.
        """
        self._check(spec, spec.name, "this process")
        if spec.name in self.names():
            raise LowzooError(f"the {self.what} {spec.name} exists already", "Give yours another name")
        self._added[spec.name] = spec
        return spec

    def origin(self, name: str) -> str:
        """Name and version of the distribution that declares an entry; empty for the package's own."""
        claims = () if name in self._builtin or name in self._added else self._found().get(name, ())
        return claims[0].distribution if claims else ""

    def refresh(self) -> None:
        """Look for plug-ins anew, after packages were installed or removed within the process."""
        self._plugins = None
        self._specs = {name: spec for name, spec in self._specs.items() if name in self._builtin}

    def _found(self) -> dict[str, list[Plugin]]:
        """Plug-ins by name; more than one of a name where several distributions claim it."""
        if self._plugins is None:
            self._plugins = {}
            for entry_point in entry_points(group=self.group):
                plugin = Plugin(entry_point, _distribution(entry_point))
                if entry_point.name in self._builtin:
                    say_once(
                        f"the {self.what} {entry_point.name} of {plugin.distribution} is left out: lowzoo has one of "
                        "that name"
                    )
                else:
                    self._plugins.setdefault(entry_point.name, []).append(plugin)
            for name, claims in self._plugins.items():
                if len(claims) > 1:
                    say_once(f"{self._claimed(name, claims)}, and none is used")
        return self._plugins

    def _claimed(self, name: str, claims: list[Plugin]) -> str:
        declared = " and ".join(sorted(claim.distribution for claim in claims))
        return f"the {self.what} {name} is declared by {declared}"

    def _load(self, name: str) -> S:
        # Sought even for a name of the package's own, so that a plug-in that claims it is said wherever it is used.
        claims = self._found().get(name, [])
        if name in self._builtin:
            return self._check(resolved_place(self._builtin[name]), name, "lowzoo")
        if not claims:
            near = near_matches(name, self.names())
            raise LowzooError(f"unknown {self.what} {name!r}{near}", f"Choose one of {', '.join(self.names())}")
        if len(claims) > 1:
            raise LowzooError(self._claimed(name, claims), "Uninstall all of them but one")
        plugin = claims[0]
        try:
            spec: object = plugin.entry_point.load()
        except (Exception, SystemExit) as error:  # whatever another package does while it is imported
            raise self._unusable(name, plugin.distribution, f"{type(error).__name__}: {reason_of(error)}") from error
        return self._check(spec, name, plugin.distribution)

    def _check(self, spec: object, name: str, distribution: str) -> S:
        if not isinstance(spec, self.kind):
            raise self._unusable(name, distribution, f"it gives a {type(spec).__name__}, not a {self.kind.__name__}")
        if spec.name != name:
            raise self._unusable(name, distribution, f"its spec calls itself {spec.name!r}")
        return spec

    def _unusable(self, name: str, distribution: str, reason: str) -> LowzooError:
        return LowzooError(
            f"the {self.what} {name} of {distribution} cannot be used ({reason})",
            f"Update or uninstall {distribution.partition(' ')[0]}",
        )


def known_name(registry: Registry[Any], name: str) -> str:
    """The name itself; for validators of configurations, whose errors are `ValueError`s.

    Raises:
        ValueError: The registry has no such name; the message lists those that there are.
        LowzooError: A plug-in of that name cannot be used.
    """
    if name not in registry:
        near = near_matches(name, registry)
        raise ValueError(f"there is no {registry.what} of that name{near}, only {', '.join(registry)}")
    registry[name]  # a broken one is told of now
    return name


def _distribution(entry_point: EntryPoint) -> str:
    found = entry_point.dist
    return f"{found.name} {found.version}" if found is not None else "an unnamed distribution"
