"""What a run folder holds: enough to reproduce, resume, evaluate, export and publish the run.

config.toml          the resolved configuration, as it holds now
changes.json         settings that were changed on the way, if any were
run.json             facts: teacher, data, versions, final figures
metrics.jsonl        one row every few steps and one a monitor
curves.png           those rows, drawn
checkpoint.pt        everything to go on from (and checkpoint.previous.pt)
checkpoints/         some of earlier epochs, to go back to
init.json            the weights that the student started from, if they were not random
teacher_head.safetensors   the fitted head, if one was fitted
model.safetensors, config.json   the headless student in timm's local-dir format
head.safetensors     the student's projection head: with it the run can be a teacher
compatible.safetensors   the map into another model's space, of a run with --compatible-with
README.md            a short card
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from lowzoo.base.errors import LowzooError
from lowzoo.io.files import atomic_path, write_bytes, write_text
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.settings.changes import Change
from lowzoo.train.settings.config import read_toml, to_toml, validate
from lowzoo.train.views import IMAGENET_MEAN, IMAGENET_STD
from lowzoo.zoo.compatible import CompatibleFacts


def write_config(folder: Path, config: TrainConfig) -> None:
    """Write `config.toml`."""
    # A teacher's path has to be read back as it is, so its bytes are kept where they are not UTF-8.
    write_bytes(folder / "config.toml", to_toml(config).encode("utf-8", "surrogateescape"))


def read_config(folder: Path) -> TrainConfig:
    """The configuration of the run in `folder`.

    Raises:
        LowzooError: There is no run.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise LowzooError(f"{folder} holds no run to resume (no config.toml)", "Name the folder of a run with --out")
    return validate(read_toml(path))


def refuse_a_run(folder: Path) -> None:
    """Let no second run begin where there is one.

    Raises:
        LowzooError: There is one.
    """
    if (folder / "config.toml").exists():
        raise LowzooError(
            f"{folder} already holds a run",
            "Add --resume to go on with it, --resume --from 0 to start it again, or name another --out",
        )


def forget_start(folder: Path) -> None:
    """Remove the fitted head that a start leaves which was refused or killed before it was a run."""
    for name in ("teacher_head.safetensors", "teacher_head.json"):
        (folder / name).unlink(missing_ok=True)


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Write `run.json` and the card made from it."""
    write_text(folder / "run.json", json.dumps(facts, indent=2) + "\n")
    write_text(folder / "README.md", _card(facts))


def facts_of_steps(folder: Path, steps: int) -> dict[str, Any]:
    """What an earlier `run.json` says of the machine that made these steps; nothing where there is none."""
    try:
        before = read_facts(folder)
    except (OSError, ValueError):
        return {}
    machine = ("precision", "device", "images_per_s", "versions")
    return {key: before[key] for key in machine if before.get("steps") == steps and before.get(key) is not None}


def read_facts(folder: Path) -> dict[str, Any]:
    """The content of `run.json`."""
    facts: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return facts


def save_student(folder: Path, backbone: nn.Module, architecture: str, size: int, features: int) -> None:
    """Write the headless student so that `timm.create_model("local-dir:FOLDER", pretrained=True)` gives it.

    Args:
        folder: Folder of the run.
        backbone: The student.
        architecture: timm's name.
        size: Side of its input.
        features: Width D of its features.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in backbone.state_dict().items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    known = getattr(backbone, "pretrained_cfg", {}) or {}
    cfg: dict[str, Any] = {
        "tag": "run",
        "custom_load": False,
        "input_size": [3, size, size],
        "fixed_input_size": bool(known.get("fixed_input_size")),
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "num_classes": 0,
        "pool_size": known.get("pool_size"),
        "first_conv": known.get("first_conv"),
        "classifier": known.get("classifier"),
    }
    content = {"architecture": architecture, "num_classes": 0, "num_features": features, "pretrained_cfg": cfg}
    if cfg["fixed_input_size"]:
        content["model_args"] = {"img_size": size}
    write_text(folder / "config.json", json.dumps(content, indent=2) + "\n")


def _card(facts: dict[str, Any]) -> str:
    teacher, data, result, init = facts["teacher"], facts["data"], facts["result"], facts.get("init")
    taught = (
        [
            f"- Teacher: {teacher['name']} ({teacher['architecture']}, {teacher['revision']})",
            f"- Training of the teacher's backbone: {teacher['training']}",
            f"- Licence of the teacher: {teacher['license'] or 'not known'}",
            f"- Head of the teacher: {teacher['head']}",
        ]
        if teacher
        else ["- Teacher: none"]
    )
    compatible = CompatibleFacts.from_dict(facts["compatible"]) if facts.get("compatible") else None
    lines = [
        f"# {facts['student']} by {facts['method']}",
        "",
        f"- Student: `{facts['architecture']}`, {facts['size']} px, {facts['features']} features",
        *([f"- Started from: {init['name']} ({init['revision']}, weights {init['weights']})"] if init else []),
        *taught,
        *([f"- Compatible with: {compatible}, by {_map_words(compatible)}"] if compatible else []),
        f"- Data: {data['name']}, {data['images']} images (fingerprint {data['fingerprint']})",
        f"- Length: {facts['epochs']} epochs, {facts['steps']} steps of {facts['batch_size']} images",
    ]
    lines += [f"- Changed on the way: {Change(**change)}" for change in facts["changes"]]
    if teacher and teacher["extension"]:
        lines.append("- A fitted head is an **extension**: the papers use the teacher's own.")
    if result.get("knn") is not None:
        at_start = f", at initialisation {result['knn_init']:.1f} %" if result.get("knn_init") is not None else ""
        neighbours = result.get("knn_neighbours", 20)
        lines.append(f"- k-NN top-1 (k = {neighbours}, monitor): {result['knn']:.1f} %{at_start}")
    lines += [
        "",
        'Settings: `config.toml`. Load it with `timm.create_model("local-dir:<this folder>", pretrained=True)`.',
    ]
    return "\n".join(lines) + "\n"


def _map_words(facts: CompatibleFacts) -> str:
    return (
        f"a {facts.map} map from {facts.features} features; an index by that model, with mean {list(facts.mean)}, "
        f"standard deviation {list(facts.std)}, {facts.interpolation}, crop {facts.crop_pct:g}, can be asked by it: "
        "`lowzoo embed --head compatible`, `lowzoo export --head compatible`"
    )
