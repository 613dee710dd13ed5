"""ncnn's graph, a text: a magic number, how many layers and blobs follow, and a layer a line.

`TYPE NAME INPUTS OUTPUTS blob... blob... key=value...`. ncnn reads as many lines as the second one says, so what stands
behind them is nobody's but ours: lines that begin with `#lowzoo `, a piece of metadata each.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

_MAGIC = "7767517"
_MARK = "#lowzoo "


@dataclasses.dataclass(frozen=True)
class Layer:
    """A line of the graph.

    Args:
        kind: Type of the layer.
        name: Name of the layer.
        reads: Names of the blobs that it reads.
        makes: Names of the blobs that it makes.
        settings: `key=value` pairs, as they are written.
    """

    kind: str
    name: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    settings: tuple[str, ...]

    def __str__(self) -> str:
        counts = (f"{len(self.reads)}", f"{len(self.makes)}")
        return " ".join((f"{self.kind:<24}", f"{self.name:<24}", *counts, *self.reads, *self.makes, *self.settings))


def layers_of(path: Path) -> list[Layer]:
    """The layers of a graph.

    Raises:
        ValueError: It is none, or is cut short.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError("it is no text") from error
    if len(lines) < 2 or lines[0].strip() != _MAGIC:
        raise ValueError("it does not begin as a graph of ncnn")
    try:
        count = int(lines[1].split()[0])
        found = [_layer(line) for line in lines[2 : 2 + count]]
    except (ValueError, IndexError) as error:
        raise ValueError("a line of it is damaged or cut short") from error
    if len(found) != count:
        raise ValueError(f"it holds {len(found)} of {count} layers")
    return found


def write_layers(path: Path, layers: Sequence[Layer]) -> None:
    """Write a graph without metadata."""
    blobs = sum(len(layer.makes) for layer in layers)
    path.write_text("\n".join((_MAGIC, f"{len(layers)} {blobs}", *map(str, layers), "")), encoding="utf-8")


def append_notes(path: Path, notes: Mapping[str, str]) -> None:
    """Write metadata behind the graph."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{_MARK}{json.dumps([key, value])}\n" for key, value in notes.items())


def notes_of_ncnn(path: Path) -> dict[str, str]:
    """What a graph says of itself; ncnn is not needed to read it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return {
            str(key): str(value)
            for key, value in (json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK))
        }
    except (OSError, ValueError, TypeError):
        return {}


def _layer(line: str) -> Layer:
    kind, name, inputs, outputs, *rest = line.split()
    first, last = int(inputs), int(inputs) + int(outputs)
    return Layer(kind, name, tuple(rest[:first]), tuple(rest[first:last]), tuple(rest[last:]))
