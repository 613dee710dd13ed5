"""The fenced blocks of README, CONTRIBUTING and the documentation, and how a page of them is run.

The blocks of a page are run from top to bottom, in one folder and with one set of names, as a reader would do it. What
stands behind the language says how:

- `python`: run. `sh`: each line is a command of lowzoo, which is run.
- `title="NAME"`: a file of that name, or a line of a shell that writes it; other languages need it.
- `norun="REASON"`: not run, and why not. Its commands go through the command line's parser all the same.
- `text`, `math`, `bibtex`: shown, nothing to run. `sh test` is the README's test command, which .ci/run runs.
"""

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lowzoo.cli.main import main
from tests.helpers.plugins import write_distribution

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "lowzoo" / "data" / "samples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
SHOWN = ("text", "math", "bibtex")
_FENCE = re.compile(r"^( *)```(\w*)([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
# What a reader leaves to a machine for minutes takes two steps here: what a run learns is tested elsewhere.
_SHORTER = (
    (r"\bminutes=\d+", 'steps=2, device="cpu"'),
    (r"--resume --minutes \d+", "--resume --steps 4 --device cpu"),
    (r"--minutes \d+", "--steps 2 --device cpu"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: The file.
        line: Line of its fence.
        language: First word behind the fence.
        title: Name of the file that it is; empty for none.
        norun: Why it is not run; empty if it is.
        text: What stands in it.
    """

    page: Path
    line: int
    language: str
    title: str
    norun: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{name(self.page)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of a shell block."""
        if self.language != "sh":
            return
        for line in self.text.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                if words := shlex.split(part, comments=True):
                    yield words


def name(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent, language, words, inside = match.groups()
        said = dict(re.findall(r'(\w+)="([^"]*)"', words))
        if words.strip() == "test":
            said["norun"] = "is what .ci/run does"
        inside = re.sub(rf"^{indent}", "", inside, flags=re.MULTILINE)
        line = text[: match.start()].count("\n") + 1
        found.append(Block(page, line, language, said.get("title", ""), said.get("norun", ""), inside))
    return found


def run_page(page: Path, folder: Path, edit: Callable[[str], str] = str) -> dict[str, Any]:
    """Run the blocks of a page in the folder that this process stands in.

    Args:
        page: The page.
        folder: That folder, into which blocks with a title are written.
        edit: Changes what is run.

    Returns:
        The names that the Python blocks left.
    """
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.norun or block.language in SHOWN:
            continue
        text = edit(block.text)
        for long, short in _SHORTER:
            text = re.sub(long, short, text)
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(text, encoding="utf-8")
            if Path(block.title).name == "pyproject.toml":
                _install(folder, tomllib.loads(text))
        elif block.language == "python":
            exec(compile("\n" * block.line + text, name(page), "exec"), names)
        else:
            for words in Block(page, block.line, "sh", "", "", text).commands():
                assert words[0] == "lowzoo", f"{block.place} is to be run and has {words[0]}"
                with pytest.raises(SystemExit) as ended:
                    main(words[1:])
                assert not ended.value.code, f"{block.place}: {shlex.join(words)} ended with {ended.value.code}"
    return names


def _install(folder: Path, project: dict[str, Any]) -> None:
    """What `pip install -e .` would do with the folder: it is on the path already, and gets its entry points."""
    entries = project["project"]["entry-points"]
    write_distribution(folder, project["project"]["name"], entries, {})
    for registry in registries():
        registry.refresh()


def registries() -> list[Any]:
    """What another package may add to."""
    from lowzoo.bench.engines import ENGINES
    from lowzoo.bench.targets import TARGETS
    from lowzoo.evaluate.protocols import PROTOCOLS
    from lowzoo.export.formats import FORMATS
    from lowzoo.train.recipes import RECIPES

    return [ENGINES, TARGETS, PROTOCOLS, FORMATS, RECIPES]
