"""Pages that stand elsewhere in the repository, with their links turned to where the site has them.

README, CONTRIBUTING, CHANGELOG, the model cards and the lists of figures and pictures are written once and shown here
as they are. A link to a file that the site does not have becomes the file's name. A code block keeps its language and
its title; the other words behind them are for the tests (`tests/docs`).
"""

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
API = ROOT / ".cache" / "api" / "lowzoo"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "lowzoo/data/samples/README.md": "samples.md",
    **{f"model_cards/{card.name}": f"models/{card.name}" for card in sorted((ROOT / "model_cards").glob("*.md"))},
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_SOURCE = re.compile(r'src="([^":]+)"')
_FENCE = re.compile(r"^( *)(```+)(\w+)([^\n`]*)$", re.MULTILINE)
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_startup(**_: Any) -> None:
    """Lay the packages out as they are installed: the reader of docstrings follows no mapping of folders.

    Before the configuration is used, since the reader looks for the folder then.
    """
    shutil.rmtree(API, ignore_errors=True)
    for folder, place in (("lowzoo", API), ("train", API / "train"), ("export", API / "export")):
        shutil.copytree(ROOT / folder, place, ignore=_all_but_python, dirs_exist_ok=True)


def _all_but_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder, name).is_dir() or name.endswith(".py"))]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, and the pictures that they show."""
    for source, page in PAGES.items():
        text = _FRONT.sub("", (ROOT / source).read_text(encoding="utf-8"))
        pictures: dict[str, Path] = {}
        text = with_links(text, source, page, pictures)
        files.append(File.generated(config, page, content=text))
        for place, path in pictures.items():
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(path)))
    cards = [Path(page).stem for page in PAGES.values() if page.startswith("models/")]
    listed = "\n".join(f"- [`{name}`]({name}.md)" for name in cards)
    files.append(File.generated(config, "models/index.md", content=f"# Models\n\nA card each.\n\n{listed}\n"))
    return files


def with_links(text: str, source: str, page: str, pictures: dict[str, Path]) -> str:
    """Turn the links of a file of the repository to the site's pages.

    Args:
        text: The file's text.
        source: Where the file lies, from the root of the repository.
        page: Where the page lies, from the root of the site's sources.
        pictures: Gets the place of each picture that the site does not have, and its file.
    """

    def target(link: str, picture: bool) -> str | None:
        """The link from the page; None for a file that the site does not have."""
        path, _, anchor = link.partition("#")
        if ":" in link or not path:
            return link
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = PAGES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if place is None and picture:
            place = f"pictures/{file.replace('/', '_')}"
            pictures[place] = ROOT / file
        if place is None:
            return None
        found = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"{found}#{anchor}" if anchor else found

    def link(found: re.Match[str]) -> str:
        mark, words, given = found.groups()
        made = target(given, bool(mark))
        return words if made is None else f"{mark}[{words}]({made})"

    text = _SOURCE.sub(lambda found: f'src="{target(found[1], True)}"', text)
    return _LINK.sub(link, text)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave of a code block's first line what a reader has use for."""
    return _FENCE.sub(_plain_fence, markdown)


def _plain_fence(found: re.Match[str]) -> str:
    title = re.search(r'title="[^"]*"', found[4])
    return f"{found[1]}{found[2]}{found[3]}{' ' + title[0] if title else ''}"
