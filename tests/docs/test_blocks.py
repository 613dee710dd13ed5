"""Every fenced block is run or says why not, and every command line of the documentation is one that lowzoo takes."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from lowzoo.checkpoints import early
from lowzoo.cli.main import app
from lowzoo.cli.options.from_signature import arguments_of
from tests.docs.blocks import PAGES, ROOT, SHOWN, Block, blocks_of, name

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [(block, words) for block in BLOCKS for words in block.commands() if words[0] == "lowzoo"]
# Blocks that are not run, each with its reason. A new one is counted here by whoever writes it.
NOT_RUN = 20


def parse(words: list[str]) -> Any:
    """Take the words of a command as the command line takes them, without running it; the command's context."""
    command, context, label, left = typer.main.get_command(app), None, "lowzoo", words[1:]
    while True:
        context = command.make_context(label, list(left), parent=context)
        if not hasattr(command, "resolve_command"):
            break
        rest = [*getattr(context, "_protected_args", []), *context.args]
        label, command, left = command.resolve_command(context, rest)
    for each in _taken(inspect.unwrap(command.callback)):
        if each.name in context.params:
            each.value(context.params[each.name])  # choices are judged here
    return context


def _taken(function: Any) -> list[Any]:
    try:
        return arguments_of(function)
    except TypeError:  # a command that is not made of a documented function
        return []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a page names are not there, which a command says when it reads its words."""
    monkeypatch.chdir(tmp_path)
    for check in ("refuse_file", "refuse_misfit"):
        monkeypatch.setattr(early, check, lambda *_: None)


def test_blocks_that_are_not_run_are_counted_and_say_why() -> None:
    unrun = [block for block in BLOCKS if block.norun]
    assert all(len(block.norun.split()) > 1 for block in unrun), "a reason has words"
    assert len(unrun) == NOT_RUN, [f"{block.place} ({block.norun})" for block in unrun]
    assert len([b for b in BLOCKS if b.language in ("python", "sh") and not b.norun and not b.title]) >= 30


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_has_a_language_that_is_run_or_shown(block: Block) -> None:
    assert block.language, f"{block.place} names no language"
    assert block.language in (*SHOWN, "python", "sh") or block.title or block.norun
    if block.language == "python":
        ast.parse(block.text)


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: f"{case[0].place} {' '.join(case[1][1:3])}")
def test_a_command_is_one_that_lowzoo_takes(case: tuple[Block, list[str]], here: None) -> None:
    block, words = case
    if "extend" in name(block.page):
        pytest.skip("of a package that the page writes; it is run")
    parse(words)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_command_within_a_sentence_names_real_options(page: Path) -> None:
    outside = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    if page == ROOT / "CHANGELOG.md" or "extend" in name(page):
        return  # it tells of options that are gone, or of those of another package
    for text in re.findall(r"`lowzoo ([^`\n]+)`", outside):
        command, context, words = typer.main.get_command(app), None, text.split()
        while hasattr(command, "resolve_command") and words:
            context = command.context_class(command, parent=context)
            if words[0] in ("--help", "--version", "--debug"):
                break
            found = command.get_command(context, words[0])
            if found is None:
                assert not words[0].islower(), f"{name(page)}: no command {words[0]} in {text}"
                break
            command, words = found, words[1:]
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        for word in words:
            assert not word.startswith("--") or word.rstrip(",.") in known, f"{name(page)}: {word} in {text}"
