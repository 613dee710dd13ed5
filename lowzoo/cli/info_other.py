"""What `lowzoo info` tells of a model that is not in the catalog: a folder, a repository of the Hub, a timm name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowzoo.catalog.families import family_of
from lowzoo.errors import LowzooError

_SHORT = {"converted_from": "from", "converted_from_sha256": "sha256", "batch_size": "batch"}
_RUN = ("method", "student", "epochs", "steps", "batch_size")


def describe_other(word: str) -> dict[str, Any]:
    """The facts as plain data (JSON-ready); nothing is built, and of weights only the header is read.

    Args:
        word: A folder, `hf-hub:ORG/NAME[/FOLDER][@REVISION]`, a timm name, or a file of `lowzoo export`.

    Raises:
        LowzooError: It means nothing, or its files cannot be had.
    """
    if (said := _artifact(word)) is not None:
        return said
    from lowzoo.find import find

    found = find(word, pretrained=False)
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
    return {key: value for key, value in facts.items() if value not in (None, "", [], {})}


def sections(facts: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The same for people: headings, each with names and texts."""
    if "format" in facts:
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
        lines.append(("exports to", family.sentence()))
    lines.append(("licence", facts.get("license", "not stated")))
    yield facts["id"], lines
    if made := facts.get("made"):
        yield "Provenance", [(_SHORT.get(key, key), str(value)) for key, value in made.items()]


def _artifact(word: str) -> dict[str, Any] | None:
    """What an exported file says of itself; None for any other word."""
    path = Path(word)
    if not path.suffix or not path.exists():
        return None
    from lowzoo.export.formats import format_of

    kind = format_of(path)
    if kind is None:
        return None
    notes = {key.removeprefix("lowzoo."): value for key, value in kind.notes(path).items()}
    keys = ("unchecked", "model", "revision", "precision", "license", "weights", "source")
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


def _of_run(run: dict[str, Any]) -> dict[str, Any]:
    made = {key: run[key] for key in _RUN if run.get(key)}
    made |= {"teacher": run["teacher"]["name"]} if run.get("teacher") else {}
    made |= {"data": run["data"]["name"]} if run.get("data") else {}
    return made | {key: value for key, value in (run.get("result") or {}).items() if isinstance(value, int | float)}
