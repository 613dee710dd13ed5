"""What a set of results says, by device: tables and accuracy against latency, phones and computers always apart.

A device is one machine with one target: a phone's browser and the same phone's native runtime are two, as a model is
quicker in the one for reasons that are none of its own.
"""

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.bench.results.assemble import read_results
from lowzoo.bench.results.schema import BenchResult
from lowzoo.catalog.entries import LatencyEntry

TASKS = ("linear", "k-NN")
COLUMNS = ("model", "precision", "runs by", "median ms", "p90", "p99", "min", "load ms", "file MB", "runs")
REFERENCE_COLUMNS = ("device", "network", "precision", "runs by", "ms")
PUBLISHED = (
    "Published by others for these networks with their ImageNet classifier, each by its own protocol; to be ranked "
    "with none of the results"
)
_KINDS = {
    "phone": ("Phones", ""),
    "computer": ("Computers", "A regression guard, not a phone: these figures rank models differently from phones."),
}
# The catalog speaks as those who publish latencies do.
_PRECISIONS = {"fp32": "float", "int8": "w8a8"}
_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1b1f24; --quiet: #5a6270; --line: #d6dae1; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --text: #e8eaee; --quiet: #a2abb8; --line: #343a43; }
}
body { background: var(--ground); color: var(--text); font: 1rem/1.45 system-ui, sans-serif; margin: 0 auto;
  max-width: 76rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.75rem 0 .25rem; }
.quiet { color: var(--quiet); font-size: .875rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--quiet); font-weight: 500; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
figure { margin: 1rem 0; background: #fff; border-radius: .5rem; padding: .5rem; }
figure svg { width: 100%; height: auto; display: block; }
"""


@dataclass(frozen=True)
class Group:
    """The results of one device by one target.

    Args:
        kind: phone or computer.
        title: The device in words.
        results: Quickest first.
    """

    kind: str
    title: str
    results: tuple[BenchResult, ...]


def read_groups(files: Sequence[Path]) -> list[Group]:
    """Read files of results, re-evaluate them, and sort them by device: phones first.

    Raises:
        LowzooError: No files, or one that is no result.
    """
    if not files:
        raise LowzooError("a report needs results", "Name files that `lowzoo bench --out FILE` wrote")
    found: dict[tuple[str, str], list[BenchResult]] = {}
    for file in files:
        for result in read_results(file):
            found.setdefault((result.device.kind, title_of(result)), []).append(result)
    groups = [
        Group(kind, title, tuple(sorted(results, key=lambda result: result.statistics.median_ms)))
        for (kind, title), results in found.items()
    ]
    return sorted(groups, key=lambda group: (group.kind != "phone", group.title))


def title_of(result: BenchResult) -> str:
    """Name of the device and of the target."""
    device = result.device
    name = device.name if device.kind == "phone" else device.cpu or device.name
    chip = device.soc if device.kind == "phone" else None
    cores = f"{device.cores} cores" if device.cores else None
    browser = result.engine.settings.get("browser") if result.target == "browser" else None
    return ", ".join(part for part in (name, chip, cores, device.os, browser) if part)


def engine_of(result: BenchResult) -> str:
    """What ran the model, with its threads."""
    engine = result.engine
    version = f" {engine.version}" if len(engine.version) < 12 else ""
    return f"{engine.name}{version} {engine.provider}, {engine.threads} thread{'s' * (engine.threads > 1)}"


def name_of(result: BenchResult) -> str:
    """The model, without the tag of its weights."""
    return (result.model.name or result.model.file).partition(".")[0]


def accuracy_of(result: BenchResult) -> tuple[str, float] | None:
    """The figure of the weights that stands in the catalog, with what it is of; None if there is none."""
    try:
        _, weights = catalog.find(result.model.name or "")
    except LowzooError:
        return None
    own = [metric for metric in weights.metrics if not metric.of]
    for task in TASKS:
        for metric in own:
            if task in metric.task:
                return f"{metric.task}, {metric.data}", metric.value
    return None


def cells(result: BenchResult) -> tuple[str, ...]:
    """A row of the table, as `COLUMNS`."""
    found = result.statistics
    load = f"{result.load_ms:.0f}" if result.load_ms is not None else ""
    times = (found.median_ms, found.p90_ms, found.p99_ms, found.min_ms)
    return (
        name_of(result),
        result.model.precision or "",
        engine_of(result),
        *(f"{ms:.2f}" for ms in times),
        load,
        f"{result.model.size_bytes / 1e6:.1f}",
        str(found.n),
    )


def references(groups: Sequence[Group]) -> list[LatencyEntry]:
    """What others published for the networks of the results, by device and quickest first; ranked with nothing here."""
    found: dict[LatencyEntry, None] = {}
    for result in (result for group in groups for result in group.results):
        try:
            entry, _ = catalog.find(result.model.name or result.model.file)
        except LowzooError:
            continue
        precision = _PRECISIONS.get(result.model.precision or "", result.model.precision)
        side = max(result.input.shape[1:], default=224)
        rows = (row for row in catalog.latencies_of(entry) if row.is_reference and row.size == side)
        found |= dict.fromkeys(row for row in rows if row.precision == precision)
    return sorted(found, key=lambda row: (row.device_label, row.ms))


def reference_cells(row: LatencyEntry) -> tuple[str, ...]:
    """A row of the table of `references`, as `REFERENCE_COLUMNS`."""
    return row.device_label, row.architecture, row.precision, row.engine, f"{row.ms:.2f}"


def remarks(group: Group) -> Iterator[str]:
    """What a reader must know: what holds for all results once, the rest with the result that it is of."""
    shared = set.intersection(*(set(result.warnings) for result in group.results))
    yield from (warning for warning in group.results[0].warnings if warning in shared)
    for result in group.results:
        own = [warning for warning in result.warnings if warning not in shared]
        if own:
            yield f"{name_of(result)}, {engine_of(result)}: {'; '.join(own)}"


def to_html(groups: Sequence[Group], drawings: Sequence[str]) -> str:
    """The report as one page without scripts.

    Args:
        groups: What it shows.
        drawings: An SVG document for each group.
    """
    return "\n".join(_page(groups, drawings)) + "\n"


def _page(groups: Sequence[Group], drawings: Sequence[str]) -> Iterator[str]:
    count = sum(len(group.results) for group in groups)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>lowzoo bench: {count} results</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f"<h1>Latency: {count} results of {len(groups)} device{'s' * (len(groups) > 1)}</h1>"
    yield '<p class="quiet">One image a run. Every statistic was computed anew from the raw samples in the files.</p>'
    kind = None
    for group, drawing in zip(groups, drawings, strict=True):
        if group.kind != kind:
            kind = group.kind
            heading, remark = _KINDS[kind]
            yield f"<h2>{heading}</h2>"
            if remark:
                yield f'<p class="quiet">{remark}</p>'
        yield f"<h3>{html.escape(group.title)}</h3>"
        yield f'<div class="table"><table>\n<tr>{"".join(f"<th>{column}</th>" for column in COLUMNS)}</tr>'
        for result in group.results:
            yield f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells(result))}</tr>"
        yield "</table></div>"
        yield f"<figure>{drawing}</figure>"
        yield '<ul class="quiet">'
        yield from (f"<li>{html.escape(remark)}</li>" for remark in remarks(group))
        yield "</ul>"
    if published := references(groups):
        yield f'<h2>References</h2>\n<p class="quiet">{PUBLISHED}.</p>'
        yield f'<div class="table"><table>\n<tr>{"".join(f"<th>{column}</th>" for column in REFERENCE_COLUMNS)}</tr>'
        for row in published:
            yield f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in reference_cells(row))}</tr>"
        yield "</table></div>"
        yield '<ul class="quiet">'
        for source in dict.fromkeys(f"{row.protocol}: {row.source}" for row in published):
            yield f"<li>{html.escape(source)}</li>"
        yield "</ul>"
    yield "</body>\n</html>"


def to_catalog(groups: Sequence[Group]) -> str:
    """Rows for lowzoo/catalog/latencies.toml, from which list, info and cards take them.

    Raises:
        LowzooError: A result is of a computer, of the short protocol, or of a model that the zoo does not have.
    """
    rows = []
    for group in groups:
        for result in group.results:
            if group.kind != "phone":
                raise LowzooError(f"{group.title} is no phone", "Leave it out: the catalog holds phones only")
            if result.quick:
                raise LowzooError(f"{name_of(result)} was timed by --quick", "Time it by the standard protocol")
            entry, _ = catalog.find(result.model.name or result.model.file)
            short = re.sub("[^a-z0-9]+", "-", (result.device.name or "phone").lower()).strip("-")
            fields: dict[str, str | float] = {
                "architecture": entry.architecture,
                "device": f"{short}-browser" if result.target == "browser" else short,
                "device_label": group.title,
                "engine": engine_of(result),
                "precision": _PRECISIONS.get(result.model.precision or "", result.model.precision or "unknown"),
                "ms": round(result.statistics.median_ms, 4),
                "size": max(result.input.shape[1:], default=224),
                "protocol": f"median of {result.statistics.n} runs; {result.protocol.in_words(result.unit)}",
                "source": "measured here",
                "script": "lowzoo bench",
                "kind": "measured",
            }
            # A string of JSON is one of TOML too, whatever a device calls itself.
            rows.append("\n".join(["[[latency]]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]))
    return "\n\n".join(rows) + "\n"
