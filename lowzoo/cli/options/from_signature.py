"""Make a command of a documented function.

The function's signature is the command's: what comes before `*` are arguments, the rest are options, `Literal` gives
choices, and `**words: Unpack[SomeTypedDict]` gives an option for each entry. Its docstring is the help: the text before
`Args:` is the command's, each line under it an option's, up to a sentence that begins with "In Python".
`lowzoo.base.options.Option` inside `Annotated` says the little that Python has no words for.

The command calls the function with what was typed, hands it a place for lines of progress, and shows the result: by its
`to_json()` with `--json`, else by the presenter of the command.
"""

import contextlib
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from lowzoo.base.errors import LowzooError
from lowzoo.base.lazy import resolved_place
from lowzoo.base.notes import say_once
from lowzoo.base.options import Option, PythonOnly

Follow = Callable[[Mapping[str, Any], bool], contextlib.AbstractContextManager[Callable[[str], None]]]
"""Takes the arguments and whether JSON is wanted, and gives what takes the lines of progress."""

_SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Example:", "Examples:", "Note:", "Attributes:")
_FOR_PYTHON = " In Python"
_JSON_HELP = "Print one JSON document."
_PLAIN = (str, int, float, bool, Path)


@dataclass(frozen=True)
class _Taken:
    """An argument of the function as the command line takes it."""

    name: str
    kind: Any
    default: Any
    option: Option
    help: str
    positional: bool
    required: bool
    many: bool
    choices: tuple[str, ...] = ()

    @property
    def shown_default(self) -> Any:
        """The default as typer shows it: text where the option is text that is read."""
        if self.required:
            return inspect.Parameter.empty
        if self.many or self.default is None:
            return None
        if self.option.read is None:
            return self.default
        if isinstance(self.default, (tuple, list)):
            return ",".join(f"{value}" for value in self.default)
        return f"{self.default}"

    def value(self, given: Any) -> Any:
        """What the function gets for what typer gives."""
        if self.many:
            return tuple(given) if given else self.default
        if self.choices and given is not None and given not in self.choices:
            *others, last = self.choices
            raise LowzooError(
                f"unknown {self.name.rstrip('_').replace('_', ' ')} {given!r}",
                f"Use {self.names[-1]} {', '.join(others)} or {last}",
            )
        if given is None or (not self.required and given == self.shown_default):
            return self.default
        return resolved_place(self.option.read)(given, self.names[-1]) if self.option.read else given

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the option; one that is true, or neither, until it is named has a name for no."""
        plain = self.name.rstrip("_").replace("_", "-")
        both = self.kind is bool and self.default is not False
        return self.option.names or (f"--{plain}/--no-{plain}" if both else f"--{plain}",)

    def parameter(self) -> inspect.Parameter:
        """The parameter that typer reads."""
        about: dict[str, Any] = {"help": self.help, "metavar": self.option.metavar or "|".join(self.choices) or None}
        if self.option.early is not None:
            about["callback"] = _lazily(self.option.early)
        for limit, value in (("min", self.option.minimum), ("max", self.option.maximum)):
            if value is not None:
                about[limit] = value
        kind = list[self.kind] if self.many else self.kind  # type: ignore[name-defined]
        if not self.required and (self.many or self.default is None):
            kind = kind | None
        made: Any = typer.Argument(**about) if self.positional else typer.Option(*self.names, **about)
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.shown_default, annotation=Annotated[kind, made]
        )


def command(
    function: Callable[..., Any],
    present: Callable[[Any], Iterable[str]],
    *,
    json: bool = True,
    json_help: str = _JSON_HELP,
    like: Callable[..., Any] | None = None,
    check: Callable[[Mapping[str, Any], bool], object] = lambda *_: None,
    follow: Follow | None = None,
    status: Callable[[Any], int] = lambda _: 0,
    note: str = "",
) -> Callable[..., None]:
    """Give what typer registers as a command.

    Args:
        function: Documented as `lowzoo.base.options` says; one with `progress` gets a place for lines.
        present: Gives the lines that show the result.
        json: Add `--json`, which prints the result's `to_json()` instead.
        json_help: Help of `--json`.
        like: A function whose options this one takes too, by `**words`.
        check: Takes the arguments and whether JSON is wanted; refuses what the function takes and a command does not.
        follow: Where lines of progress go; by default to stdout, and to stderr with `--json`.
        status: Gives the exit status for the result.
        note: What the help says after the docstring.
    """
    taken = arguments_of(function, like=like)
    text = "\n\n".join(filter(None, (described(function)[0], inspect.cleandoc(note))))
    follows = follow or _lines

    @functools.wraps(function)
    def run(**words: Any) -> None:
        as_json = bool(words.pop("json_", False))
        values = {each.name: each.value(words[each.name]) for each in taken}
        check(values, as_json)
        with follows(values, as_json) as progress:
            more = {"progress": progress} if "progress" in inspect.signature(function).parameters else {}
            result = function(**values, **more)
        if as_json:
            print(result.to_json().rstrip("\n"))
        else:
            for line in present(result):
                print(line)
        sys.stdout.flush()
        if code := status(result):
            raise typer.Exit(code)

    parameters = [each.parameter() for each in taken]
    if json:
        flag = Annotated[bool, typer.Option("--json", help=json_help)]
        parameters.append(inspect.Parameter("json_", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flag))
    run.__doc__ = text
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__dict__["names_from"] = {each.name: each.option.names_from for each in taken if each.option.names_from}
    return run


class Command(TyperCommand):
    """A command whose help lists the names of registries, plug-ins included: they are looked up when it is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        sources = getattr(self.callback, "names_from", {})
        for parameter in self.params:
            if source := sources.get(parameter.name):
                text = (getattr(parameter, "help", None) or "").rstrip(".")
                parameter.help = f"{text}: {', '.join(resolved_place(source).names())}."  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group whose help gives the whole first sentence of each command, however narrow the terminal is."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(sys.maxsize)) for name, command in found if command and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def group(names: Callable[[], Iterable[str]], make: Callable[[str], Callable[..., None]]) -> type[TyperGroup]:
    """Give a group (typer's `cls`) of commands that are made when they are asked for, such as those of a registry.

    Args:
        names: Gives the commands' names.
        make: Gives what `command` gave for a name; a `LowzooError` of it is told when that command is called, and as a
            note where the commands are listed.
    """

    class OnDemand(Group):
        def list_commands(self, ctx: Any) -> list[str]:
            found = []
            for name in names():
                try:
                    make(name)
                except LowzooError as error:
                    say_once(str(error))
                else:
                    found.append(name)
            return [*super().list_commands(ctx), *found]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if (own := super().get_command(ctx, cmd_name)) is not None:
                return own
            if cmd_name not in names():
                return None
            app = typer.Typer(
                add_completion=False, rich_markup_mode=None, context_settings=ctx.command.context_settings
            )
            app.command(cmd_name, cls=Command)(make(cmd_name))
            return typer.main.get_command(app)

    return OnDemand


def arguments_of(function: Callable[..., Any], *, like: Callable[..., Any] | None = None) -> list[_Taken]:
    """The arguments of a function that the command line takes, in their order.

    Args:
        function: Documented as `lowzoo.base.options` says.
        like: A function whose options stand in place of `**words`.

    Raises:
        TypeError: An argument has no line under `Args:`, or is of a kind that no text gives.
    """
    helps = described(function)[1]
    found: list[_Taken] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            if get_origin(parameter.annotation) is Unpack:
                found += _entries(get_args(parameter.annotation)[0])
            elif like is not None:
                own = set(inspect.signature(function).parameters)
                found += [each for each in arguments_of(like) if not each.positional and each.name not in own]
            continue
        one = _taken(
            function,
            parameter.name,
            parameter.annotation,
            parameter.default,
            helps,
            positional=parameter.kind is not inspect.Parameter.KEYWORD_ONLY,
        )
        found += [one] if one is not None else []
    return found


@functools.cache
def described(function: Any) -> tuple[str, dict[str, str]]:
    """Read a Google docstring: the text before its first section, and a line for each argument."""
    text, helps, section, name = [], dict[str, str](), "", ""
    for line in inspect.cleandoc(function.__doc__ or "").splitlines():
        if line.strip() in _SECTIONS and not line.startswith(" "):
            section = line.strip()
        elif not section:
            text.append(line)
        elif section == "Args:" and (found := re.match(r"    \*{0,2}(\w+): +(.*)", line)):
            name, helps[found[1]] = found[1], found[2]
        elif section == "Args:" and name and line.strip():
            helps[name] += f" {line.strip()}"
    return "\n".join(text).strip(), {name: _for_the_command_line(line) for name, line in helps.items()}


def _for_the_command_line(text: str) -> str:
    return text.partition(_FOR_PYTHON)[0].replace("`", "").strip()


def _entries(kind: Any) -> list[_Taken]:
    """The entries of a `TypedDict`."""
    helps = described(kind)[1]
    found = []
    for name, annotation in kind.__annotations__.items():
        option = next((each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Option)), Option())
        one = _taken(kind, name, annotation, option.default, helps, positional=False)
        found += [one] if one is not None else []
    return found


def _taken(
    owner: Any, name: str, annotation: Any, default: Any, helps: Mapping[str, str], *, positional: bool
) -> _Taken | None:
    kind, about = (
        (get_args(annotation)[0], annotation.__metadata__) if get_origin(annotation) is Annotated else (annotation, ())
    )
    if any(isinstance(each, PythonOnly) for each in about):
        return None
    where = f"{owner.__module__}.{owner.__qualname__}"
    if not helps.get(name):
        raise TypeError(f"{where} says nothing of its argument {name}")
    option = next((each for each in about if isinstance(each, Option)), None)
    made, many = _kind(kind, option, f"{name} of {where}")
    required = default is inspect.Parameter.empty
    choices = tuple(choice for part in _parts(kind) if get_origin(part) is Literal for choice in get_args(part))
    return _Taken(
        name,
        made,
        None if required else default,
        option or Option(),
        helps[name],
        positional,
        required,
        many,
        choices if option is None or option.read is None else (),
    )


def _kind(kind: Any, option: Option | None, where: str) -> tuple[Any, bool]:
    """What typer is told of a type, and whether the option may be repeated."""
    if option is not None and option.read is not None:
        return str, False
    parts = [each for each in _parts(kind) if each is not type(None)]
    if len(parts) == 1 and get_origin(parts[0]) is Literal:
        return str, False  # judged by `value`, in the words of this package
    if len(parts) == 1 and parts[0] in _PLAIN:
        return parts[0], False
    for each in parts:
        if get_origin(each) in (list, tuple, Sequence, typing.Sequence) and get_args(each):
            inside = [one for one in _parts(get_args(each)[0]) if one in _PLAIN]
            if inside:
                return (str if str in inside else inside[0]), True
    # Where Python takes objects or paths as well, the command line has a word for them.
    if str in parts or (option is not None and any(isinstance(each, (str, typing.ForwardRef)) for each in parts)):
        return str, False
    if parts and all(each in (int, float) for each in parts):
        return float, False
    raise TypeError(f"the command line has no words for {where} ({kind}); say how it is read by Option(read=...)")


def _parts(kind: Any) -> Sequence[Any]:
    return get_args(kind) if get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _lazily(function: Callable[[Any], Any] | str) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        return resolved_place(function)(value)

    return call


class _Lines:
    """Prints lines, and leaves bars to stderr."""

    bars = True

    def __init__(self, as_json: bool) -> None:
        self._place = sys.stderr if as_json else sys.stdout

    def __call__(self, text: str) -> None:
        print(text, file=self._place, flush=True)


@contextlib.contextmanager
def _lines(_: Mapping[str, Any], as_json: bool) -> Iterator[Callable[[str], None]]:
    yield _Lines(as_json)
