"""The page of the command line, made of the commands themselves."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.structure.files import File

PAGE = "commands.md"
_HEAD = """# Command line

`lowzoo COMMAND --help` says the same. Every command that gives figures takes `--json`, `--debug` shows the traceback of
an error, and the exit status is 0 for success, 1 where a check failed, 2 for what the caller can mend.
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """The page as Markdown: a section a command."""
    from lowzoo.cli.main import app

    return "\n".join([_HEAD, *_sections(typer.main.get_command(app), None, "lowzoo")])


def _sections(command: Any, parent: Any, name: str) -> Iterator[str]:
    """The sections of a command, or of those of a group."""
    context = command.context_class(command, info_name=name, parent=parent)
    if hasattr(command, "list_commands"):
        for each in command.list_commands(context):
            yield from _sections(command.get_command(context, each), context, each)
        return
    # Shown once, so that names of registries, which the help looks up, stand in the options' lines.
    command.get_help(context)
    yield f"## {context.command_path}\n"
    yield f"```text\n{' '.join(command.get_usage(context).split()).removeprefix('Usage: ')}\n```\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    rows = [found for each in command.get_params(context) if (found := each.get_help_record(context))]
    if rows:
        yield "| option | what it does |\n| --- | --- |"
        yield from (f"| `{' '.join(name.split())}` | {_cell(text)} |" for name, text in rows)
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
