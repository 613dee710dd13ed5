"""The certificate of an index: a bank of features made by one runtime, asked by every other.

Whoever indexes pictures on a server and asks from phones has features of the same network by several runtimes. Each
file by itself was held against PyTorch; here each is held against each: for every ordered pair the bank is of one and
the queries are of the other, leave-one-out on labelled pictures.

Three things fail a pair.

- One of its files is not what its export wrote, byte for byte. One changed weight of millions may move features by less
  than rounding does; the hash inside the file finds it.
- Its queries lose more k-NN points (k = 10) than `bound` on the bank that its own runtime loses nothing on: 1.0, what
  an int8 file may lose against PyTorch by itself, so a pair is no worse than its worse half may be.
- Where both are of 16 bits or more, the features of some picture differ by more than both may from PyTorch: twice the
  angle, or the sum of the relative errors, of the bounds of `lowzoo.export.spec.bounds`.

A table of features, of `lowzoo embed` or of a phone, is one more member; of one that does not say its precision only
the points are bound.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from lowzoo.base import html
from lowzoo.base.errors import LowzooError
from lowzoo.data.source import Images
from lowzoo.export.artifacts.seal import is_unchanged
from lowzoo.export.checking import open_artifact, precision_of
from lowzoo.export.cross_tables import HASH, FeatureTable, is_table, open_table
from lowzoo.export.formats import FORMATS
from lowzoo.export.parity.checker import KNN_K, KNN_PICTURES, labelled_pictures, torch_outputs
from lowzoo.export.parity.parity import compare
from lowzoo.export.parity.runnable import Array, Runnable, outputs_of
from lowzoo.export.spec.bounds import BOUNDS, Bounds, ParityError
from lowzoo.export.spec.spec import EXACT
from lowzoo.features.votes import TEMPERATURE, votes
from lowzoo.preprocess.input_facts import size_text
from lowzoo.preprocess.transform import Preprocessing
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.resolve import Resolved

BOUND = 1.0
_TIE = 1e-5
_PREPARATION = ("crop_mode", "crop_pct", "mean", "std")


@dataclass(frozen=True)
class CrossMember:
    """One that makes features.

    Args:
        label: Letter of its row and column.
        name: Path of the file, or name of the network in PyTorch.
        engine: What ran it, with its version.
        precision: Precision of the file; "fp32" of PyTorch.
        top1: k-NN top-1 of its own queries on its own bank, in percent.
        unchanged: Whether no byte of the file changed since its export; True of PyTorch, None of a table and of a file
            that does not say what its bytes were.
    """

    label: str
    name: str
    engine: str
    precision: str
    top1: float
    unchanged: bool | None = None

    def __str__(self) -> str:
        changed = ", CHANGED since its export" if self.unchanged is False else ""
        return f"{self.label}  {self.name}: {self.precision}, {self.engine}{changed}"


@dataclass(frozen=True)
class CrossPair:
    """A bank of one, queries by another.

    Args:
        bank: Label of the member that made the bank.
        queries: Label of the member that asks.
        top1: k-NN top-1 in percent.
        lost: Points that it is below the bank's own queries.
        agreement: Fraction of queries with the same nearest neighbour as the bank's own, up to ties, in [0, 1].
        min_cosine: Smallest cosine between the features of a picture by both.
        relative_error: Largest difference of a number, over the largest number.
        broken: Each bound that the pair breaks.
    """

    bank: str
    queries: str
    top1: float
    lost: float
    agreement: float
    min_cosine: float
    relative_error: float
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class CrossReport:
    """The matrix of all pairs.

    Args:
        model: What the files say that they are.
        data: Name of the labelled pictures.
        images: Number of pictures.
        bound: Points that the queries of a pair may lose.
        members: Those that make features, in the order of rows and columns.
        pairs: Every ordered pair of two different ones.
    """

    model: str
    data: str
    images: int
    bound: float
    members: tuple[CrossMember, ...]
    pairs: tuple[CrossPair, ...]

    @property
    def broken(self) -> tuple[CrossPair, ...]:
        """The pairs that break a bound."""
        return tuple(pair for pair in self.pairs if pair.broken)

    def pair(self, bank: str, queries: str) -> CrossPair:
        """The pair of two labels."""
        return next(each for each in self.pairs if (each.bank, each.queries) == (bank, queries))

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"schema": "lowzoo.cross/1", **asdict(self)}

    def to_json(self) -> str:
        """`as_dict` as a document."""
        return json.dumps(self.as_dict(), indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """The lines that the command prints."""
        yield f"{self.model}: every bank asked by every runtime, {self.images} labelled pictures of {self.data}, k = 10"
        yield ""
        for one in self.members:
            yield f"  {one}"
        for title, cells in self._tables():
            yield ""
            yield f"{title} (row: bank, column: queries)"
            width = max(len(cell) for row in cells for cell in row) + 2
            for row in cells:
                yield "  " + row[0].ljust(3) + "".join(cell.rjust(width) for cell in row[1:])
        yield ""
        if silent := ", ".join(one.label for one in self.members if one.unchanged is None):
            yield f"Note: no hash of its bytes inside {silent}, so that a change within the bounds is not seen there"
        if not self.broken:
            yield f"every pair keeps its bounds: {self._bounds()}"
            return
        yield f"{len(self.broken)} of {len(self.pairs)} pairs BROKEN (marked by !); bounds: {self._bounds()}"
        for pair in self.broken:
            yield f"  bank {pair.bank}, queries {pair.queries}: {'; '.join(pair.broken)}"
        if guilty := self._guilty():
            yield f"{guilty.label} ({guilty.name}) is in every broken pair, and the others agree with one another"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        parts = [html.block(map(str, self.members))]
        parts += [f"<p>{title}</p>{html.table(cells[0], cells[1:])}" for title, cells in self._tables()]
        said = [f"bank {pair.bank}, queries {pair.queries}: {'; '.join(pair.broken)}" for pair in self.broken]
        return "".join([*parts, html.block(said or [f"every pair keeps its bounds: {self._bounds()}"])])

    def _tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        own = {one.label: f"{one.top1:.2f}" for one in self.members}
        yield "k-NN top-1 in %", self._table(own, lambda pair: f"{pair.top1:.2f}")
        alike = dict.fromkeys(own, "100.0")
        yield (
            "Same nearest neighbour as the bank's own queries, in %",
            self._table(alike, lambda pair: f"{100 * pair.agreement:.1f}"),
        )
        yield (
            "Smallest cosine of the features of one picture",
            self._table(dict.fromkeys(own, "1"), lambda pair: f"{pair.min_cosine:.6f}"),
        )

    def _table(self, own: dict[str, str], show: Callable[[CrossPair], str]) -> list[list[str]]:
        def mark(pair: CrossPair) -> str:
            return f"{show(pair)}{'!' if pair.broken else ''}"

        rows = [[bank, *(own[bank] if bank == by else mark(self.pair(bank, by)) for by in own)] for bank in own]
        return [["", *own], *rows]

    def _bounds(self) -> str:
        return (
            f"at most {self.bound:g} k-NN points lost; between files of 16 bits or more, a difference of at most twice "
            "what each may have from PyTorch; no byte of a file changed since its export"
        )

    def _guilty(self) -> CrossMember | None:
        found = [one for one in self.members if all(one.label in (pair.bank, pair.queries) for pair in self.broken)]
        return found[0] if len(found) == 1 and len(self.members) > 2 else None


def cross(
    files: Sequence[str | Path],
    *,
    against: Resolved | None = None,
    data: Images = None,
    bound: float = BOUND,
    images: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> CrossReport:
    """Ask the bank of each file by the queries of every other.

    Args:
        files: Files of one network, in any formats and precisions, and tables of its features.
        against: The network in PyTorch, as one more.
        data: Labelled pictures; the sample set if None.
        bound: k-NN points that the queries of a pair may lose.
        images: Number of pictures, at most; 512 if None.
        say: Takes a line on what is being done.

    Raises:
        LowzooError: Fewer than two, files of different networks or preparations, or something else than features.
    """
    paths = _each_once(files)
    if len(paths) + (against is not None) < 2:
        raise LowzooError("a bank is asked by another runtime, and one is named", "Name two files, or --against MODEL")
    if not 0 <= bound <= 100:
        raise LowzooError(f"a bound of {bound:g} points is impossible", "Use points from 0 to 100")
    opened = [open_table(path) if is_table(path) else open_artifact(path) for path in paths]
    model = _one_network(opened, against)
    # What each file was held to by itself; a format may have bounds of its own.
    limits = [_limits(each) for each in opened] + [BOUNDS["fp32"]] * (against is not None)
    preparation = _one_preparation(opened, against)
    pictures, labels, places, name = _labelled(data, images or KNN_PICTURES, preparation.input_size[0], bound)
    rows: list[Array] = []
    for member in opened:
        say(f"features by {member.path}")
        rows.append(_run(member, pictures, places, preparation))
    unchanged = [None if isinstance(each, FeatureTable) else is_unchanged(each.path, each.metadata) for each in opened]
    names = [(str(each.path), each.engine, _precision(each)) for each in opened]
    if against is not None:
        say("features by PyTorch")
        rows.append(_features(None, torch_outputs(against, pictures)))
        names.append((against.name, f"PyTorch {torch.__version__}", "fp32"))
        unchanged.append(True)
    if len({each.shape for each in rows}) != 1:
        widths = ", ".join(f"{each[0]} {found.shape[1]}" for each, found in zip(names, rows, strict=True))
        raise LowzooError(f"the files give features of different widths ({widths})", "Name files of one network")
    labelled = [chr(ord("A") + i) if i < 26 else f"F{i}" for i in range(len(rows))]
    units = [_unit(each) for each in rows]
    own = [_top1(unit, unit, labels) for unit in units]
    members = tuple(
        CrossMember(letter, *facts, top1, same)
        for letter, facts, top1, same in zip(labelled, names, own, unchanged, strict=True)
    )
    guessed = 100 * labels.bincount().max().item() / len(labels)
    pairs = []
    for i, bank in enumerate(members):
        for j, asking in enumerate(members):
            if i != j:
                alike = compare(rows[i], rows[j], asking.engine)
                top1 = _top1(units[i], units[j], labels)
                pair = CrossPair(
                    bank.label,
                    asking.label,
                    top1,
                    bank.top1 - top1,
                    _agreement(units[i], units[j]),
                    alike.min_cosine,
                    alike.relative_error,
                )
                changed = tuple(
                    f"{one.label} is not byte for byte what its export wrote"
                    for one in (bank, asking)
                    if one.unchanged is False
                )
                broken = (*changed, *_broken(pair, bank.top1, guessed, limits[i], limits[j], bound))
                pairs.append(dataclasses.replace(pair, broken=broken))
    return CrossReport(model, name, len(pictures), bound, members, tuple(pairs))


def _one_network(opened: Sequence[Runnable | FeatureTable], against: Resolved | None) -> str:
    """Refuse files that say that they were made from different weights; give the name of the network."""
    stated = {str(each.path): each.metadata["lowzoo.weights"] for each in opened if "lowzoo.weights" in each.metadata}
    if against is not None:
        stated[f"{against.name} in PyTorch"] = f"sha256:{weights_digest(against.model)}"
    for place, weights in stated.items():
        first, other = next(iter(stated.items()))
        if weights[:HASH] != other[:HASH]:
            raise LowzooError(
                f"{first} was made from weights {other[:19]}, and {place} from {weights[:19]}: an index of one says "
                "nothing to the other",
                "Name files of one network",
            )
    for each in opened:
        if "lowzoo.suppression" in each.metadata:
            raise LowzooError(f"{each.path} is a detector, and an index is of features", "Name files of a backbone")
        if "lowzoo.classes" in each.metadata:
            raise LowzooError(f"{each.path} is a classifier, and an index is of features", "Export it without --head")
        if "lowzoo.outputs" in each.metadata:
            raise LowzooError(f"{each.path} gives feature maps, and an index is of one vector a picture", "Name others")
    said = [each.metadata["lowzoo.model"] for each in opened if "lowzoo.model" in each.metadata]
    return against.name if against is not None else next(iter(said), "files that do not say what they are")


def _one_preparation(opened: Sequence[Runnable | FeatureTable], against: Resolved | None) -> Preprocessing:
    """How pictures are prepared for all; refuse files that differ in it."""
    found: Preprocessing | None = None if against is None else Preprocessing.of(against)
    first = "" if against is None else against.name
    for each in opened:
        own = each.preparation if isinstance(each, FeatureTable) else _preparation(each)
        if own is None:
            continue
        if found is None:
            found, first = own, str(each.path)
        for word in ("input_size", "interpolation", *_PREPARATION):
            ours, theirs = getattr(found, word), getattr(own, word)
            if ours != theirs:
                shown = (size_text(ours[1:]), size_text(theirs[1:])) if word == "input_size" else (ours, theirs)
                raise LowzooError(
                    f"{first} has {word} {shown[0]}, and {each.path} has {shown[1]}: they see different pictures",
                    "Name files that were exported alike",
                )
    if found is None:
        raise LowzooError("no file says how its pictures are prepared", "Name the network by --against MODEL")
    for each in opened:
        if isinstance(each, Runnable) and (each.channels, *each.side) != found.input_size:
            raise LowzooError(
                f"{each.path} takes {size_text(each.side)} px, and {first} {size_text(found.input_size[1:])} px",
                "Name files that were exported alike",
            )
    return found


def _preparation(artifact: Runnable) -> Preprocessing | None:
    said = artifact.said("preprocessing")
    if not said:
        return None
    try:
        return Preprocessing(
            (artifact.channels, *artifact.side),
            tuple(map(float, said["mean"])),
            tuple(map(float, said["std"])),
            said["resize"]["interpolation"],
            said["crop_pct"],
            said["crop_mode"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LowzooError(f"the preprocessing inside {artifact.path} cannot be read", "Export it again") from error


def _labelled(
    data: Images, most: int, channels: int, bound: float
) -> tuple[list[np.ndarray], torch.Tensor, list[str], str]:
    pictures, labels, places, name = labelled_pictures(data, most, channels)
    if 0 < bound < 100 / len(pictures):
        raise LowzooError(
            f"one of {len(pictures)} pictures is {100 / len(pictures):.1f} points, and the bound is {bound:g}",
            "Name a larger set, or allow more by --bound",
        )
    return pictures, labels, places, name


def _each_once(files: Sequence[str | Path]) -> list[Path]:
    """Refuse a file that is named twice: a pair with itself keeps every bound."""
    found: dict[Path, Path] = {}
    for file in map(Path, files):
        if (place := file.resolve()) in found:
            other = f" ({found[place]})" if found[place] != file else ""
            raise LowzooError(f"{file} is named twice{other}, and agrees with itself", "Name each file once")
        found[place] = file
    return list(found.values())


def _run(
    member: Runnable | FeatureTable, pictures: list[np.ndarray], places: list[str], preparation: Preprocessing
) -> Array:
    if isinstance(member, FeatureTable):
        return _features(member, (member.of(places),))
    try:
        return _features(member, outputs_of(member, pictures, preparation))
    except ParityError as error:
        raise ParityError(f"{member.path}: {error.message}", error.remedy) from error


def _features(artifact: Runnable | FeatureTable | None, found: tuple[Array, ...]) -> Array:
    who = "PyTorch" if artifact is None else str(artifact.path)
    if len(found) != 1 or found[0].ndim != 2:
        raise LowzooError(f"{who} gives no single row of features a picture", "Name a file of features")
    if not np.isfinite(found[0]).all():
        raise LowzooError(f"features by {who} are not finite", "Check the weights")
    return found[0]


def _unit(rows: Array) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rows).double(), dim=1)


def _cosines(bank: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """(queries, bank), no picture with itself."""
    found = queries @ bank.T
    return found.fill_diagonal_(-torch.inf)


def _top1(bank: torch.Tensor, queries: torch.Tensor, labels: torch.Tensor) -> float:
    values, indices = _cosines(bank, queries).topk(KNN_K, dim=1)
    predicted = votes(values, labels[indices], ks=(KNN_K,), temperature=TEMPERATURE)[KNN_K]
    return 100 * (predicted == labels).double().mean().item()


def _agreement(bank: torch.Tensor, queries: torch.Tensor) -> float:
    own, picked = _cosines(bank, bank), _cosines(bank, queries).argmax(1)
    lost = own.max(1).values - own[torch.arange(len(picked)), picked]
    return float((lost <= _TIE).double().mean())


def _precision(member: Runnable | FeatureTable) -> str:
    """As the file says; of a table that does not, nobody knows."""
    return member.precision if isinstance(member, FeatureTable) else precision_of(member)


def _limits(member: Runnable | FeatureTable) -> Bounds | None:
    """What a file of 16 bits or more was held to; None of a lossy one, and of a precision that nobody knows."""
    precision = _precision(member)
    if precision not in EXACT:
        return None
    own = {} if isinstance(member, FeatureTable) else FORMATS[member.format].bounds
    return own.get(precision) or BOUNDS[precision]


def _broken(
    pair: CrossPair, own: float, guessed: float, bank: Bounds | None, queries: Bounds | None, bound: float
) -> list[str]:
    wrong = []
    if not own > guessed and (bank is None or queries is None):
        wrong.append(
            f"the bank's own top-1 of {own:.2f} % is no better than guessing ({guessed:.2f} %), so that points lost, "
            "the one bound of an int8 file, say nothing"
        )
    if not pair.lost <= bound:
        wrong.append(f"top-1 {pair.top1:.2f} % is {pair.lost:.2f} points below the bank's own, at most {bound:g}")
    if bank is not None and queries is not None:
        least = math.cos(math.acos(bank.min_cosine or 0) + math.acos(queries.min_cosine or 0))
        most = (bank.relative_error or 0) + (queries.relative_error or 0)
        if not pair.min_cosine >= least:
            wrong.append(f"smallest cosine {pair.min_cosine:.6f} < {least:.6f}")
        if not pair.relative_error <= most:
            wrong.append(f"relative error {pair.relative_error:.2e} > {most:g}")
    return wrong
