"""The rooms of the package and the arrows between them, computed from what the files import, and their pictures.

An arrow is an import at run time, at the top of a file or inside a function; one for type checkers alone is none, and a
place that stands in a registry as text is none. Files, folders and rooms have to be free of circles: `tests/docs`
holds this against the repository. A page shows a picture where it says `<!-- rooms: lowzoo -->`.

    python docs/generate/rooms.py [FOLDER]    prints the circles, and writes the pictures into FOLDER
"""

import ast
import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Folders of the repository, and the packages as which they are installed.
PACKAGES = {"lowzoo": "lowzoo", "train": "lowzoo.train", "export": "lowzoo.export"}
_MARK = re.compile(r"^<!-- rooms: ([\w.]+) -->$", re.MULTILINE)

Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A file of the package.

    Args:
        name: As it is imported.
        path: Where it lies.
    """

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        """Whether it stands for its folder."""
        return self.path.name == "__init__.py"

    @property
    def package(self) -> str:
        """Name of its folder as a package."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


def modules(root: Path = ROOT, packages: Mapping[str, str] = PACKAGES) -> dict[str, Module]:
    """Every file by the name that it is imported by."""
    found = {}
    for folder, package in packages.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = Module(name, path)
    return found


def imports(known: Mapping[str, Module]) -> Graph:
    """What each file imports of the others at run time."""
    return {name: set(_imported(module, known)) - {name} for name, module in known.items()}


def _imported(module: Module, known: Mapping[str, Module]) -> Iterator[str]:
    for node in _at_run_time(ast.parse(module.path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                if (name := f"{base}.{alias.name}") in known:
                    yield name
                elif base in known:
                    yield base


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    yield node
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.orelse:
            yield from _at_run_time(child)
        return
    for child in ast.iter_child_nodes(node):
        yield from _at_run_time(child)


def grouped(graph: Mapping[str, set[str]], group: Callable[[str], str]) -> Graph:
    """The same between groups of nodes; nodes whose group is empty are left out."""
    found: Graph = {}
    for name, others in graph.items():
        if own := group(name):
            found.setdefault(own, set()).update(other for each in others if (other := group(each)) not in ("", own))
    return {name: others & found.keys() for name, others in found.items()}


def by_folder(known: Mapping[str, Module]) -> Callable[[str], str]:
    """Groups files by their folder."""
    return lambda name: known[name].package


def rooms_of(package: str, folders: Graph) -> Graph:
    """The rooms of a package, a folder below it each, with its sub-folders where that makes no circle.

    A sub-folder that others stand on, or that stands on others, while its room does not, is a room of its own.

    Args:
        package: Name of the package.
        folders: The arrows between all folders.
    """
    inside = {name: {each for each in others if _below(each, package)} for name, others in folders.items()}
    inside = {name: others for name, others in inside.items() if _below(name, package)}
    into = {name: name for name in inside}
    for room in sorted(inside):
        parts = [name for name in inside if name != room and _below(name, room)]
        if room == package or room.rpartition(".")[0] != package or not parts:
            continue
        for left_out in (None, *parts):
            tried = into | dict.fromkeys((part for part in parts if part != left_out), room)
            if not circles(grouped(inside, tried.__getitem__)):
                into = tried
                break
        else:
            for part in parts:
                tried = into | {part: room}
                into = into if circles(grouped(inside, tried.__getitem__)) else tried
    return grouped(inside, lambda name: _shown(into[name], package))


def _below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _shown(folder: str, package: str) -> str:
    """A folder's name within its package; the package's own files go by its name."""
    return folder.removeprefix(f"{package}.").replace(".", "/") if folder != package else package.rpartition(".")[2]


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Nodes that reach one another, in groups; empty for a graph whose arrows all point one way."""
    reach = {name: _reached(graph, name) for name in graph}
    found = {
        tuple(sorted({name, *(other for other in reach[name] if name in reach[other])}))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(found)]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen, pending = set[str](), list(graph[start])
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += graph[name]
    return seen


def without_what_follows(graph: Mapping[str, set[str]]) -> Graph:
    """Only the arrows that no longer way implies, of a graph without circles."""
    reach = {name: _reached(graph, name) for name in graph}
    return {
        name: {other for other in others if not any(other in reach[each] for each in others)}
        for name, others in graph.items()
    }


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """How many rooms lie at most below each, of a graph without circles."""
    found: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((level(other) for other in graph[name]), default=-1)
        return found[name]

    for name in graph:
        level(name)
    return found


_WIDE, _HIGH, _GAP, _ROW, _MARGIN, _LANE = 118, 34, 18, 78, 12, 14


def picture(graph: Mapping[str, set[str]], title: str) -> str:
    """Draw rooms in rows, each above those that it imports, as SVG in the colours of the page.

    Args:
        graph: Without circles.
        title: For those who do not see it.
    """
    drawn, level = without_what_follows(graph), levels(graph)
    rows, ways = _laid_out(drawn, level)
    widths = [sum(_LANE if _is_lane(name) else _WIDE for name in row) + _GAP * (len(row) - 1) for row in rows]
    width, height = max(widths) + 2 * _MARGIN, _ROW * (len(rows) - 1) + _HIGH + 2 * _MARGIN
    at: dict[str, tuple[float, float]] = {}
    for index, (row, taken) in enumerate(zip(rows, widths, strict=True)):
        x = (width - taken) / 2
        for name in row:
            own = _LANE if _is_lane(name) else _WIDE
            at[name] = x + own / 2, _MARGIN + _HIGH / 2 + index * _ROW
            x += own + _GAP
    lines = [
        f'<path class="arrow" d="{_way([at[name] for name in way])}" marker-end="url(#room-arrow)"/>' for way in ways
    ]
    boxes = [
        f'<g><rect x="{at[name][0] - _WIDE / 2:.0f}" y="{at[name][1] - _HIGH / 2:.0f}" width="{_WIDE}" '
        f'height="{_HIGH}" rx="5"/><text x="{at[name][0]:.0f}" y="{at[name][1] + 5:.0f}">{escape(name)}</text></g>'
        for name in graph
    ]
    return "".join(
        [
            f'<svg class="rooms" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'role="img" aria-label="{escape(title, quote=True)}">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style>",
            '<defs><marker id="room-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
            *lines,
            *boxes,
            "</svg>",
        ]
    )


_STYLE = (
    ".rooms{width:100%;height:auto;max-width:70rem}"
    ".rooms rect{fill:var(--md-code-bg-color,#f5f5f5);stroke:var(--md-primary-fg-color,#009485);stroke-width:1.2}"
    ".rooms text{fill:var(--md-default-fg-color,#222);font:13px sans-serif;text-anchor:middle}"
    ".rooms .arrow{fill:none;stroke:var(--md-default-fg-color--light,#777);stroke-width:1.1}"
    ".rooms .head{fill:var(--md-default-fg-color--light,#777)}"
)


def _is_lane(name: str) -> bool:
    return name.startswith("\0")


def _laid_out(graph: Mapping[str, set[str]], level: Mapping[str, int]) -> tuple[list[list[str]], list[list[str]]]:
    """Rows from the top down, with a lane for each arrow that passes a row, and the way of each arrow through them."""
    rows: dict[int, list[str]] = defaultdict(list)
    for name in sorted(graph):
        rows[level[name]].append(name)
    ways = []
    for name in sorted(graph):
        for other in sorted(graph[name]):
            # Arrows to one room share their lanes.
            lanes = [f"\0{other}\0{row}" for row in range(level[name] - 1, level[other], -1)]
            for row, lane in zip(range(level[name] - 1, level[other], -1), lanes, strict=True):
                if lane not in rows[row]:
                    rows[row].append(lane)
            ways.append([name, *lanes, other])
    ordered = [rows[row] for row in sorted(rows, reverse=True)]
    near: dict[str, set[str]] = defaultdict(set)
    for way in ways:
        for one, two in itertools.pairwise(way):
            near[one].add(two)
            near[two].add(one)
    for turn in range(24):
        for index in range(1, len(ordered)) if turn % 2 == 0 else range(len(ordered) - 2, -1, -1):
            beside = ordered[index - 1 if turn % 2 == 0 else index + 1]
            place = {name: at / len(beside) for at, name in enumerate(beside)}
            ordered[index] = _by_neighbours(ordered[index], near, place)
    return ordered, ways


def _by_neighbours(row: Sequence[str], near: Mapping[str, set[str]], place: Mapping[str, float]) -> list[str]:
    """A row in the order of what its nodes are joined to in the row beside; others keep their place."""
    own = {name: at / len(row) for at, name in enumerate(row)}

    def mean(name: str) -> float:
        found = [place[other] for other in near[name] if other in place]
        return sum(found) / len(found) if found else own[name]

    return sorted(row, key=lambda name: (mean(name), own[name]))


def _way(points: Sequence[tuple[float, float]]) -> str:
    """A smooth line from the lower edge of the first box to the upper edge of the last, through the lanes between."""
    (x, y), (last_x, last_y) = points[0], points[-1]
    stops = [(x, y + _HIGH / 2), *points[1:-1], (last_x, last_y - _HIGH / 2 - 2)]
    text = f"M{stops[0][0]:.0f} {stops[0][1]:.0f}"
    for (ax, ay), (bx, by) in itertools.pairwise(stops):
        middle = (ay + by) / 2
        text += f"C{ax:.0f} {middle:.0f} {bx:.0f} {middle:.0f} {bx:.0f} {by:.0f}"
    return text


def all_rooms(package: str) -> Graph:
    """The rooms of one of the packages as they are now."""
    known = modules()
    return rooms_of(package, grouped(imports(known), by_folder(known)))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put pictures where a page asks for them."""
    return _MARK.sub(lambda found: picture(all_rooms(found[1]), f"The rooms of {found[1]}"), markdown)


def main() -> None:
    """Print circles and arrows, and write the pictures."""
    known = modules()
    files = imports(known)
    for what, graph in (("files", files), ("folders", grouped(files, by_folder(known)))):
        found = circles(graph)
        print(f"{len(graph)} {what}, {sum(map(len, graph.values()))} arrows, {len(found)} circles")
        for circle in found:
            print(f"  {', '.join(circle)}")
    for package in PACKAGES.values() if len(sys.argv) > 1 else ():
        place = Path(sys.argv[1]) / f"{package}.svg"
        place.write_text(picture(all_rooms(package), package), encoding="utf-8")


if __name__ == "__main__":
    main()
