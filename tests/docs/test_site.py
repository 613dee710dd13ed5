"""The site: pages made of what stands elsewhere, nothing that is fetched, and the whole API."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import typer

import lowzoo
from lowzoo.cli.main import app
from tests.docs.blocks import ROOT

pytest.importorskip("mkdocs")


def generator(name: str) -> ModuleType:
    """A module of docs/generate, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "generate" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    page = generator("commands").page()
    pending = [("lowzoo", typer.main.get_command(app), None)]
    seen = 0
    while pending:
        name, command, parent = pending.pop()
        context = command.context_class(command, info_name=name, parent=parent)
        if hasattr(command, "list_commands"):
            pending += [(each, command.get_command(context, each), context) for each in command.list_commands(context)]
            continue
        section = page.partition(f"\n## {context.command_path}\n")[2].partition("\n## ")[0]
        assert section, context.command_path
        for parameter in command.params:
            assert max(parameter.opts, key=len) in section or parameter.param_type_name == "argument"
            seen += 1
    assert seen > 150


def test_links_of_the_repository_become_links_of_the_site() -> None:
    pages, pictures = generator("pages"), dict[str, Path]()
    text = "[a](model_cards/rob_vit_tiny.md#use) [b](pyproject.toml) ![c](benchmarks/results/x.png) [d](docs/start.md)"
    made = pages.with_links(text, "README.md", "index.md", pictures)
    assert made == ("[a](models/rob_vit_tiny.md#use) b ![c](pictures/benchmarks_results_x.png) [d](start.md)")
    assert list(pictures.values()) == [ROOT / "benchmarks" / "results" / "x.png"]
    assert pages.with_links("[x](../README.md)", "docs/start.md", "start.md", {}) == "[x](index.md)"
    assert pages.on_page_markdown('```sh norun="no"\nls\n```\n') == "```sh\nls\n```\n"
    assert pages.on_page_markdown('```python title="a.py"\n```\n') == '```python title="a.py"\n```\n'


def test_formulas_become_mathml_and_options_stay_text() -> None:
    from markdown import Markdown

    page = Markdown(extensions=[generator("markup").Markup(), "pymdownx.superfences"])
    made = page.convert("with $x_i$ and\n\n```math\nL = \\frac{a}{b}\n```\n\n`$HOME` costs $5 or ORG/NAME[/F][@R]")
    assert made.count("<math") == 2
    assert "<mfrac>" in made
    assert "ORG/NAME[/F][@R]" in made
    assert "<code>$HOME</code> costs $5" in made


def test_every_public_name_is_documented() -> None:
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    documented = set(re.findall(r"^::: (\S+)$", said, re.MULTILINE))
    for place in documented:
        module, _, name = place.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"{place} is not there"
    shown = {place.rpartition(".")[2] for place in documented}
    for package in (lowzoo, lowzoo.train, lowzoo.evaluate, lowzoo.export, lowzoo.bench):
        assert set(package.__all__) - {"__version__"} <= shown


class _Fetched(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.found.append(given.get("href") or "")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text(encoding="utf-8")
        parser = _Fetched()
        parser.feed(text)
        for address in parser.found:
            assert not address.startswith(("http:", "https:", "//")), f"{page} fetches {address}"
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", text), page
    assert "<math" in (tmp_path / "site" / "recipes" / "rob" / "index.html").read_text(encoding="utf-8")
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style
