"""The rooms of the package: arrows one way, and a picture of all of them."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.test_site import generator

pytest.importorskip("mkdocs")


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    return generator("rooms")


@pytest.fixture(scope="module")
def files(rooms: ModuleType) -> dict[str, set[str]]:
    found: dict[str, set[str]] = rooms.imports(rooms.modules())
    return found


def test_files_and_folders_have_no_circle(rooms: ModuleType, files: dict[str, set[str]]) -> None:
    known = rooms.modules()
    assert len(files) > 400
    assert sum(map(len, files.values())) > 1500
    assert rooms.circles(files) == []
    assert rooms.circles(rooms.grouped(files, rooms.by_folder(known))) == []


def test_the_arrows_that_contributors_are_promised(files: dict[str, set[str]]) -> None:
    arrows = {(_room(name), _room(other)) for name, others in files.items() for other in others}
    assert {above for above, below in arrows if below == "cli"} == {"cli"}
    assert {above for above, below in arrows if below == "train"} <= {"train", "cli", "evaluate", ""}
    assert {below for above, below in arrows if above == "base"} == {"base"}


def _room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_a_circle_is_found_and_what_types_alone_need_is_no_arrow(rooms: ModuleType, tmp_path: Path) -> None:
    for file, text in {
        "__init__.py": "",
        "one/__init__.py": "from . import a\n",
        "one/a.py": "def late():\n    from toy.two.b import x\n",
        "two/__init__.py": "",
        "two/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.one import a\nx = 1\n",
        "two/c.py": "from ..three import d\n",
        "three/__init__.py": "",
        "three/d.py": "import toy.two.c\nimport torch\n",
    }.items():
        (tmp_path / "toy" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / file).write_text(text)
    known = rooms.modules(tmp_path, {"toy": "toy"})
    graph = rooms.imports(known)
    assert graph["toy.one"] == {"toy.one.a"}
    assert (graph["toy.one.a"], graph["toy.two.b"]) == ({"toy.two.b"}, set())
    assert rooms.circles(graph) == [["toy.three.d", "toy.two.c"]]
    assert rooms.circles(rooms.grouped(graph, rooms.by_folder(known))) == [["toy.three", "toy.two"]]


def test_a_sub_folder_is_drawn_with_its_room_unless_that_makes_a_circle(rooms: ModuleType) -> None:
    folders = {
        "toy": {"toy.top"},
        "toy.top": {"toy.middle", "toy.top.part"},
        "toy.top.part": {"toy.base"},
        "toy.middle": {"toy.top.declared", "toy.base"},
        "toy.top.declared": {"toy.base"},
        "toy.base": set(),
    }
    found = rooms.rooms_of("toy", folders)
    assert found == {
        "toy": {"top"},
        "top": {"middle", "base"},
        "middle": {"top/declared", "base"},
        "top/declared": {"base"},
        "base": set(),
    }


def test_a_picture_has_every_room_and_its_arrows_point_down(rooms: ModuleType) -> None:
    graph = {
        "top": {"left", "right", "base"},
        "left": {"base"},
        "right": {"base", "deep"},
        "deep": {"base"},
        "base": set(),
    }
    assert rooms.without_what_follows(graph)["top"] == {"left", "right"}
    assert rooms.levels(graph) == {"base": 0, "left": 1, "deep": 1, "right": 2, "top": 3}
    drawn = rooms.picture(graph, "Toy <rooms>")
    assert re.findall(r"<text[^>]*>(\w+)</text>", drawn) == list(graph)
    ways = re.findall(r'class="arrow" d="([^"]+)"', drawn)
    assert len(ways) == 5
    for way in ways:
        heights = [float(pair.split()[1]) for pair in re.findall(r"-?\d+ -?\d+", way)]
        assert heights == sorted(heights)
    assert "Toy &lt;rooms&gt;" in drawn


def test_the_page_of_the_rooms_shows_them(rooms: ModuleType) -> None:
    page = rooms.on_page_markdown((rooms.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert page.count("<svg") == 3
    assert "<!-- rooms" not in page
    for room in ("cli", "train", "export", "base", "losses", "formats/onnx"):
        assert f">{room}</text>" in page
