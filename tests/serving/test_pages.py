"""The scripts of every page, read: a slip in one of them would leave a page that never begins."""

import re
import shutil
import subprocess
from importlib.resources import files

import pytest

PAGES = ("lowzoo.demo", "lowzoo.bench.browser")


def scripts(page):
    """The scripts that a page has: its own, and those that all pages share."""
    folders = [files(owner) / "page" for owner in ("lowzoo.serving", page)]
    return sorted((file for folder in folders for file in folder.iterdir() if file.name.endswith(".js")), key=str)


def texts(page):
    return {script.name: script.read_text(encoding="utf-8") for script in scripts(page)}


@pytest.mark.parametrize("page", PAGES)
def test_scripts_are_javascript(tmp_path, page):
    engine = shutil.which("node")
    if engine is None:
        pytest.skip("no engine for JavaScript on this machine")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name, text in texts(page).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        done = subprocess.run([engine, "--check", name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_what_a_script_imports_is_exported(page):
    found = texts(page)
    for name, text in found.items():
        for words, other in re.findall(r'^import \{ ([^}]+) \} from "\./([^"]+)"', text, re.MULTILINE):
            exported = re.findall(r"^export (?:async )?(?:function\*?|const) (\w+)", found[other], re.MULTILINE)
            for word in words.split(", "):
                assert word.partition(" as ")[0] in exported, f"{name} imports {word} of {other}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_script_looks_for_is_in_the_page(page):
    html = (files(page) / "page" / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'id="(\w+)"', html)
    assert len(ids) == len(set(ids))
    text = (files(page) / "page" / "page.js").read_text(encoding="utf-8")
    assert set(re.findall(r'\bat\("(\w+)"\)', text)) <= set(ids)
    classes = {word for words in re.findall(r'class="([^"]+)"', html) for word in words.split()}
    assert set(re.findall(r'(?:querySelector|part)\("\.(\w+)"\)', text)) <= classes


@pytest.mark.parametrize("page", PAGES)
def test_a_page_whose_script_does_not_come_says_so(page):
    """By the page alone: what says it may not be a script."""
    html = (files(page) / "page" / "index.html").read_text(encoding="utf-8")
    (said,) = re.findall(r'id="note"[^>]*>(.*)</p>', html)
    assert re.search(r'<span class="late">.*If this stays, .* Load it again\.</span>', said)
    assert ".late" in (files("lowzoo.serving") / "page" / "base.css").read_text(encoding="utf-8")
