"""The command line: which commands there are, and what an error looks like.

Each command is a plain function in its own file; its signature is its options and its docstring is its help. Those
files import nothing heavy at their top, so that `lowzoo --help` needs neither torch nor timm.
"""

import os
import sys
from typing import Annotated, cast

import typer

from lowzoo.base.errors import LowzooError, ToldElsewhere
from lowzoo.base.notes import print_notes
from lowzoo.base.printable import forgiving_streams
from lowzoo.cli.commands.bench import bench
from lowzoo.cli.commands.cards import cards
from lowzoo.cli.commands.check import check
from lowzoo.cli.commands.convert import convert
from lowzoo.cli.commands.data import data
from lowzoo.cli.commands.demo import demo
from lowzoo.cli.commands.doctor import doctor
from lowzoo.cli.commands.download import download
from lowzoo.cli.commands.embed import embed
from lowzoo.cli.commands.eval import app as eval_app
from lowzoo.cli.commands.export import export
from lowzoo.cli.commands.info import info
from lowzoo.cli.commands.list import list_
from lowzoo.cli.commands.publish import publish
from lowzoo.cli.commands.quickstart import quickstart
from lowzoo.cli.commands.teachers import teachers
from lowzoo.cli.commands.train import app as train_app
from lowzoo.cli.options.from_signature import Command, Group
from lowzoo.system.cores import keep_to_cpu_limit
from lowzoo.system.signals import Stopped, sigterm_as_exception

# The family of usage errors. typer brings its own copy of click in newer versions, so click itself cannot be named.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
_INTERRUPTED = 130

app = typer.Typer(
    name="lowzoo",
    cls=Group,
    add_completion=False,
    # Without markup the help needs no rich, which alone takes a third of the time to show it.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_)
app.command("info")(info)
app.command("teachers", cls=Command)(teachers)
app.command("cards")(cards)
app.command("download")(download)
app.command("quickstart")(quickstart)
app.command("data", cls=Command)(data)
app.add_typer(eval_app, name="eval")
app.command("embed", cls=Command)(embed)
app.command("export", cls=Command)(export)
app.command("check", cls=Command)(check)
app.command("bench", cls=Command)(bench)
app.command("demo", cls=Command)(demo)
app.add_typer(train_app, name="train")
app.command("convert", cls=Command)(convert)
app.command("publish", cls=Command)(publish)
app.command("doctor", cls=Command)(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        import lowzoo

        print(f"lowzoo {lowzoo.__version__}")
        raise typer.Exit


@app.callback()
def _lowzoo(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
) -> None:
    """Low-compute vision backbones trained without labels: find, train, evaluate, export and time them."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 for success, 2 for what the caller can mend, 130 when interrupted, 143 by SIGTERM.

    Args:
        arguments: Words after the program's name; those of this process by default.
    """
    words = sys.argv[1:] if arguments is None else arguments
    print_notes()
    debug = "--debug" in words
    forgiving_streams()
    keep_to_cpu_limit()
    try:
        with sigterm_as_exception():
            status = app(
                [word for word in words if word != "--debug"] or ["--help"], prog_name="lowzoo", standalone_mode=False
            )
        sys.stdout.flush()
    except LowzooError as error:
        if debug:
            raise
        sys.exit(error.status if isinstance(error, ToldElsewhere) else _report(str(error), error.status))
    except _UsageError as error:
        if debug:
            raise
        command = error.ctx.command_path if error.ctx else "lowzoo"
        sys.exit(_report(f"{error.format_message().rstrip('.')}. See `{command} --help`"))
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; without this the interpreter complains while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # as typer does when the pipe breaks earlier
    except OSError as error:
        # Of a path that a name on the command line leads to: it is too long, or its folder may not be searched.
        if debug or error.filename is None:
            raise
        sys.exit(_report(f"{error.filename}: {error.strerror}. Name another file or folder"))
    except Stopped as stopped:
        if not stopped.told:
            print(f"lowzoo: {stopped.message}", file=sys.stderr)
        sys.exit(stopped.status)
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        print("lowzoo: interrupted", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _report(message: str, status: int = 2) -> int:
    print(f"lowzoo: error: {' '.join(message.split())}", file=sys.stderr)
    return status
