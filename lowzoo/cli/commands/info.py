"""`lowzoo info MODEL`: everything the catalog knows of one model, or what another one says of itself.

What `lowzoo info` tells of a model that is not in the catalog: a folder, a repository of the Hub, a timm name.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.catalog import LatencyEntry, Metric, ModelEntry, WeightsEntry
from lowzoo.catalog.families import FamilyEntry, family_of
from lowzoo.checkpoints.early import is_artifact, refuse_early
from lowzoo.detection import is_detector

_WIDTH = 80
_INDENT = 14
_HEADS = {"own": "the teacher's own", "fitted": "fitted"}
_SHORT = {
    "converted_from": "from",
    "converted_from_sha256": "sha256",
    "batch_size": "batch",
    "derivatives_may_be_published": "students",
}
_RUN = ("method", "student", "epochs", "steps", "batch_size")


def info(
    model: Annotated[
        str,
        typer.Argument(
            help="Zoo name, folder, hf-hub:ORG/NAME[/FOLDER][@REVISION], timm name, or a file of `lowzoo export`.",
            metavar="MODEL",
            callback=refuse_early,
        ),
    ],
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show everything the catalog knows of MODEL.

    How it was made and from what, how to load it, its figures with their source, its licence and what to cite. Of a
    model that is not in the catalog: what its folder, its repository or timm says of it, and to which formats timm's
    family exports; of an exported file, and of a detector that was trained, what it says of itself.
    """
    if not _in_catalog(model):
        facts = describe_other(model)
        print(json.dumps(facts, indent=2)) if json_ else _print(sections(facts))
        return
    entry, weights = catalog.find(model)
    if json_:
        family = family_of(entry.architecture)
        print(json.dumps(catalog.describe(model) | ({"exports": family.as_dict()} if family else {}), indent=2))
        return
    _print(_sections(entry, weights))
    print(f"\n{catalog.recipes()[entry.recipe].citation}")


def _in_catalog(model: str) -> bool:
    """Whether the catalog has it or ought to; anything else is a question to timm, the folders and the files."""
    if Path(model).exists() and is_artifact(model):  # which is named by its model
        return False
    base = model.removeprefix(catalog.PREFIX).partition(".")[0]
    return model.startswith(catalog.PREFIX) or base in catalog.models()


def _print(parts: Iterator[tuple[str, list[tuple[str, str]]]]) -> None:
    for number, (heading, lines) in enumerate(parts):
        print(f"\n{heading}" if number else heading)
        for name, text in lines:
            print(_wrapped(name, text))


def _wrapped(name: str, text: str) -> str:
    if not name:
        return f"    {text}"  # code, to be copied as it is
    return textwrap.fill(
        text,
        _WIDTH,
        # A space even where the name fills its column, as it may end in a figure.
        initial_indent=f"  {name + chr(32):<{_INDENT}}",
        subsequent_indent=" " * (2 + _INDENT),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _sections(entry: ModelEntry, weights: WeightsEntry) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    name = f"{entry.name}.{weights.tag}"
    recipe = catalog.recipes()[entry.recipe]
    channels, height, width = weights.input_size
    yield (
        name,
        [
            ("what", weights.summary),
            ("recipe", f"{recipe.label}, {recipe.title} (arXiv {recipe.arxiv})"),
            ("student", f"{entry.student}, timm's {entry.architecture}"),
            ("feature", f"{entry.feature_dim} numbers: {entry.feature}"),
            ("size", f"{weights.params / 1e6:.2f} M parameters, {weights.gmacs:.2f} GMAC"),
            ("input", f"{channels} x {height} x {width}, {weights.interpolation}, crop {weights.crop_pct:g}"),
            *[("note", note) for note in entry.notes],
            *([("exports to", _formats(family))] if (family := family_of(entry.architecture)) else []),
            ("other tags", ", ".join(tag for tag in entry.tags if tag != weights.tag) or "none"),
        ],
    )
    yield "Load", list(_loading(entry, weights))
    yield "Provenance", list(_provenance(weights))
    yield (
        "Figures",
        [(_owner(metric), _metric_line(metric)) for metric in weights.metrics]
        or [("none", "nobody measured or published any")],
    )
    latencies = catalog.latencies_of(entry)
    if measured := [_latency_line(row) for row in latencies if not row.is_reference]:
        yield "Latency, measured by `lowzoo bench`", measured
    if references := [_latency_line(row) for row in latencies if row.is_reference]:
        yield "Latency, published by others (reference)", references
    yield (
        "Licence and citation",
        [
            ("weights", weights.license or "none: there are no published weights"),
            *([("derivatives", "allowed" if weights.derivatives else "not allowed")] if weights.license else []),
            ("cite", f"{recipe.authors}, {recipe.year}:"),
        ],
    )


def _loading(entry: ModelEntry, weights: WeightsEntry) -> Iterator[tuple[str, str]]:
    if weights.available:
        yield "", "import lowzoo, timm"
        yield "", f'model = timm.create_model("lowzoo/{_shortest(entry, weights)}", pretrained=True)'
        if weights.checkpoint:
            place = f"{weights.repo} on the Hub at {weights.revision}" if weights.repo else weights.page
            yield "file", f"{weights.checkpoint} of {place}"
            yield "network", weights.branch
    elif weights.unavailable_reason:
        yield "weights", f"cannot be had: {weights.unavailable_reason}"
    else:
        yield "weights", "not published; make them with"
        yield "", weights.train
    if not entry.stock:
        yield "note", "needs lowzoo: not exactly timm's network"


def _latency_line(row: LatencyEntry) -> tuple[str, str]:
    return row.device, f"{row.ms:g} ms, {row.precision}, {row.engine}; {row.protocol}; {row.source}"


def _provenance(weights: WeightsEntry) -> Iterator[tuple[str, str]]:
    yield "objective", weights.objective
    if weights.teacher:
        teacher = catalog.teacher(weights.teacher)
        yield "teacher", f"{teacher.name}: {teacher.architecture}, {teacher.training} ({teacher.license})"
    if weights.teacher_note:
        yield "teacher", weights.teacher_note
    if not (weights.teacher or weights.teacher_note):
        yield "teacher", "none"
    elif weights.head in _HEADS:
        yield "head", _HEADS[weights.head]
    if weights.extension:
        yield "extension", weights.extension
    yield "labels", "none used" if weights.label_free else "not label-free: labels trained the teacher"
    images = f", {weights.images:,} photographs" if weights.images else ""
    yield "data", f"{weights.data}{images}"
    if weights.epochs:
        yield "epochs", str(weights.epochs)
    if weights.train and weights.origin != "unpublished":
        yield "made by" if weights.origin == "bundled" else "make such", weights.train
    for note in weights.notes:
        yield "note", note
    yield "source", weights.source


def _shortest(entry: ModelEntry, weights: WeightsEntry) -> str:
    return entry.name if weights is entry.default else f"{entry.name}.{weights.tag}"


def _owner(metric: Metric) -> str:
    return metric.of or "this model"


def _metric_line(metric: Metric) -> str:
    """`k-NN top-1 31.2 % (k = 20, ...) on ...; measured here, benchmarks/...`."""
    source = f"{metric.source}, {metric.script}" if metric.script else metric.source
    return f"{metric.task} {metric.value:g} {metric.unit} ({metric.protocol}) on {metric.data}; {source}"


def describe_other(model_spec: str) -> dict[str, Any]:
    """The facts as plain data (JSON-ready); nothing is built but where a map has to fit the weights.

    Args:
        model_spec: A folder, `hf-hub:ORG/NAME[/FOLDER][@REVISION]`, a timm name, or a file of `lowzoo export`.

    Raises:
        LowzooError: It means nothing, or its files cannot be had.
    """
    if (said := _artifact(model_spec)) is not None:
        return said
    if is_detector(model_spec):
        from lowzoo.detection.described import describe

        return describe(Path(model_spec))
    from lowzoo.zoo.find import find

    found = find(model_spec, pretrained=False)
    facts: dict[str, Any] = {
        "id": found.name if found.file else found.architecture,
        "architecture": found.architecture,
        "arguments": found.arguments,
        "revision": found.revision,
        "input_size": list(found.cfg.get("input_size", ())),
        "mean": list(found.cfg.get("mean", ())),
        "std": list(found.cfg.get("std", ())),
        "interpolation": found.cfg.get("interpolation"),
        "crop_pct": found.cfg.get("crop_pct"),
        "license": found.license or found.cfg.get("license"),
        "recipe": found.recipe,
        "paper": found.cfg.get("paper_ids"),
        "positions": found.positions if found.positions != "timm" else None,
    }
    if family := family_of(found.architecture):
        facts["exports"] = family.as_dict()
    if found.file is not None:
        facts |= {"file": str(found.file), **_sizes(found.file), **_made(found.file.parent)}
        facts |= _compatible(found.file.parent)
    return {key: value for key, value in facts.items() if value not in (None, "", [], {})}


def sections(facts: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The same for people: headings, each with names and texts."""
    if "format" in facts or "detector" in facts:
        yield facts["id"], [(key, str(value)) for key, value in facts.items() if key != "id"]
        return
    lines = [("architecture", " ".join([facts["architecture"], *_pairs(facts.get("arguments", {}))]))]
    if size := facts.get("input_size"):
        shape = " x ".join(map(str, size))
        lines.append(("input", f"{shape}, {facts.get('interpolation')}, crop {facts.get('crop_pct', 1):g}"))
        lines.append(("normalised", f"mean {facts['mean']}, standard deviation {facts['std']}"))
    if "tensors" in facts:
        size_mb = facts["bytes"] / 1e6
        lines.append(
            ("weights", f"{facts['tensors']} tensors, {facts['numbers'] / 1e6:.2f} M numbers, {size_mb:.1f} MB")
        )
    lines += [(key, str(facts[key])) for key in ("file", "revision", "recipe", "positions", "paper") if key in facts]
    if family := family_of(facts["architecture"]):
        lines.append(("exports to", _formats(family)))
    lines.append(("licence", facts.get("license", "not stated")))
    yield facts["id"], lines
    if space := facts.get("compatible"):
        yield (
            "Compatible with",
            [(_SHORT.get(key, key), _shown(value)) for key, value in space.items() if value is not None],
        )
    if made := facts.get("made"):
        yield "Provenance", [(_SHORT.get(key, key), str(value)) for key, value in made.items()]


def _formats(family: FamilyEntry) -> str:
    """The formats that a network of the family was exported to, those that it was not, and those nobody tried."""
    from lowzoo.export.formats import FORMATS

    untried = ", ".join(name for name in FORMATS if name not in family.results)
    return f"{family.sentence()}{f'; not tried on it: {untried}' if untried else ''}"


def _artifact(model_spec: str) -> dict[str, Any] | None:
    """What an exported file says of itself; None for any other word."""
    path = Path(model_spec)
    if not path.suffix or not path.exists():
        return None
    from lowzoo.export.formats import format_of

    kind = format_of(path)
    if kind is None:
        return None
    notes = {key.removeprefix("lowzoo."): value for key, value in kind.notes(path).items()}
    keys = ("unchecked", "model", "revision", "precision", "license", "weights", "source", "compatible")
    said = {key: notes[key] for key in keys if notes.get(key)}
    return {"id": path.name, "format": kind.name, **(said or {"model": "it does not say what it was made from"})}


def _pairs(arguments: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in arguments.items()]


def _sizes(file: Path) -> dict[str, int]:
    from math import prod

    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118 - it is no mapping
    return {"tensors": len(shapes), "numbers": sum(map(prod, shapes)), "bytes": file.stat().st_size}


def _made(folder: Path) -> dict[str, dict[str, Any]]:
    """What the folder says of how its weights were made."""
    config = json.loads((folder / "config.json").read_bytes())
    stated = config.get("lowzoo", {})
    made = {key: stated[key] for key in ("family", "converted_from", "converted_from_sha256") if key in stated}
    if (folder / "run.json").is_file():
        try:
            made |= _of_run(json.loads((folder / "run.json").read_bytes()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LowzooError(
                f"{folder / 'run.json'} is not what a run writes ({error!r})", "Remove it, or finish the run again"
            ) from error
    return {"made": made} if made else {}


def _compatible(folder: Path) -> dict[str, dict[str, Any]]:
    """In whose embedding space the folder's map leads; nothing where it has none."""
    from lowzoo.zoo.compatible import FILE, map_of, read_map
    from lowzoo.zoo.find import FOLDER_SCHEME
    from lowzoo.zoo.resolve import load_model

    if not (folder / FILE).is_file():
        return {}
    try:
        said = read_map(folder)[1].as_dict()
    except LowzooError as error:
        return {"compatible": {"damaged": error.message}}
    try:
        map_of(load_model(f"{FOLDER_SCHEME}{folder}"))
    except LowzooError as error:
        said["unusable"] = error.message
    return {"compatible": said}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "may be published" if value else "may not be published"
    return " x ".join(map(str, value)) if isinstance(value, list) and isinstance(value[0], int) else str(value)


def _of_run(run: dict[str, Any]) -> dict[str, Any]:
    made = {key: run[key] for key in _RUN if run.get(key)}
    made |= {"teacher": run["teacher"]["name"]} if run.get("teacher") else {}
    made |= {"data": run["data"]["name"]} if run.get("data") else {}
    return made | {key: value for key, value in (run.get("result") or {}).items() if isinstance(value, int | float)}
