"""What a finished run leaves: weights, head, facts, card and curves."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lowzoo.catalog import student_architecture
from lowzoo.system.machine import device_name, versions
from lowzoo.train.heads.files import save_head
from lowzoo.train.monitoring.curves import draw_curves
from lowzoo.train.monitoring.metrics import read_metrics
from lowzoo.train.monitoring.verdict import Verdict, at_the_ends, verdict
from lowzoo.train.networks.encoder import MultiViewEncoder, feature_width
from lowzoo.train.networks.warm_start import read_init
from lowzoo.train.recipes import RECIPES
from lowzoo.train.recipes.base import TrainConfig
from lowzoo.train.runs import folder as run_folder
from lowzoo.train.settings.changes import Change
from lowzoo.train.teachers import TeacherFacts
from lowzoo.zoo.compatible import CompatibleFacts, EmbeddingMap, save_map
from lowzoo.zoo.digest import weights_digest
from lowzoo.zoo.find import FOLDER_SCHEME
from lowzoo.zoo.resolve import load_model


@dataclass(frozen=True)
class RunResult:
    """What a finished run gives.

    Args:
        folder: The run folder.
        loss: Loss of the last logged step, nats; None if no step was made.
        knn: Monitor's top-1 in per cent at the end, None without labels.
        knn_init: The same at initialisation.
        facts: The content of `run.json`.
        verdict: Whether it has learned, None where nothing was measured twice.
    """

    folder: Path
    loss: float | None
    knn: float | None
    knn_init: float | None
    facts: dict[str, Any]
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Worked:
    """What a run has done, over all its parts: an interruption, and steps that it cost, do not count.

    Args:
        images: Trained on.
        seconds: Training time, monitors and checkpoints included.
    """

    images: int = 0
    seconds: float = 0.0

    def plus(self, images: int, seconds: float) -> "Worked":
        """This and a further part."""
        return Worked(self.images + images, self.seconds + seconds)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def images_per_s(self) -> float | None:
        """Over the whole run; None where no step was timed."""
        return round(self.images / self.seconds, 1) if self.images and self.seconds else None


def conclude(
    folder: Path,
    config: TrainConfig,
    student: MultiViewEncoder,
    teacher: TeacherFacts | None,
    device: torch.device,
    *,
    steps: int,
    epochs: float,
    precision: str,
    data: dict[str, Any],
    trained: bool,
    worked: Worked,
    watched: dict[str, int],
    neighbours: int,
    changes: Sequence[Change] = (),
    compatible: CompatibleFacts | None = None,
) -> RunResult:
    """Write everything that outlives the run into its folder.

    Args:
        folder: Run folder, with `metrics.jsonl`.
        config: Configuration of the run.
        student: Trained.
        teacher: Facts of the teacher; None for a recipe without one.
        device: Where it ran.
        steps: Steps of the whole run.
        epochs: Passes over the data, the last of which may be a part of one.
        precision: Precision of the networks: fp32, bf16 or fp16.
        data: Facts of the training images, see `lowzoo.train.data.run_data.facts_of`.
        trained: Whether this part of the run made a step. If not, it leaves what is known of those that did.
        worked: Images and seconds of all parts of the run.
        watched: Number of images that each figure of the monitors is a mean over.
        neighbours: k of the k-NN monitor.
        changes: Changes of settings on the way.
        compatible: With whom the student's map was trained; None where it has none.
    """
    rows = read_metrics(folder / "metrics.jsonl")
    knn_init, knn = at_the_ends(rows, "knn", steps)
    losses = [row["loss"] for row in rows if "loss" in row]
    architecture = student_architecture(config.student, config.recipe)
    features = feature_width(student.backbone, config.global_size)
    run_folder.save_student(folder, student.backbone, architecture, config.global_size, features)
    student.eval()
    with torch.no_grad():
        outputs = student.head(torch.zeros(2, features, device=device)).shape[-1]
    embedding = config.needs.embedding
    save_head(folder / "head.safetensors", student.head, config.student_head, features, outputs, embedding=embedding)
    kept = None if compatible is None else _keep_map(folder, student, compatible, config.compatible_weight)
    method = config.method_name
    found = verdict(
        rows, watched, steps, changed={each.key for each in changes}, k=neighbours, taught=teacher is not None
    )
    result = RunResult(
        folder,
        losses[-1] if losses else None,
        knn,
        knn_init,
        {
            "recipe": config.recipe,
            "paper": asdict(paper) if (paper := RECIPES[config.recipe].paper()) else None,
            "method": method + (" on a fitted head (extension)" if teacher and teacher.extension else ""),
            "student": config.student,
            "architecture": architecture,
            "size": config.global_size,
            "features": features,
            # One that was refused before it was a run may have left its own.
            "init": read_init(folder) if config.init else None,
            "teacher": teacher.as_dict() if teacher else None,
            **({"compatible": kept.as_dict()} if kept else {}),
            "data": data,
            "epochs": round(epochs, 2) if epochs % 1 else int(epochs),
            "minutes": config.minutes or None,
            "steps": steps,
            "batch_size": config.batch_size,
            "precision": precision,
            "device": device_name(device),
            "images_per_s": worked.images_per_s,
            "changes": [change.as_dict() for change in changes],
            "result": {
                "loss": losses[-1] if losses else None,
                "knn": knn,
                "knn_init": knn_init,
                "knn_neighbours": neighbours,
                "label_free": _at_both_ends(rows, ("teacher_neighbours", "own_view", "rankme"), steps),
                **_first_and_last(rows, ("compatible",)),
                "better": found.better if found else None,
                "verdict": str(found) if found else "",
            },
            "versions": versions(),
        },
        found,
    )
    if not trained:
        result.facts.update(run_folder.facts_of_steps(folder, steps))
    run_folder.write_facts(folder, result.facts)
    draw_curves(
        rows, folder / "curves.png", f"{method}: {config.student}" + (f" from {teacher.name}" if teacher else "")
    )
    return result


def _keep_map(folder: Path, student: MultiViewEncoder, facts: CompatibleFacts, weight: float) -> CompatibleFacts:
    """Write the map, bound to the weights that were just written."""
    made = student.compatible
    assert isinstance(made, EmbeddingMap)
    written = weights_digest(load_model(f"{FOLDER_SCHEME}{folder}").model)
    facts = replace(facts, student=written, weight=weight)
    save_map(folder, made, facts)
    return facts


def _at_both_ends(rows: Sequence[dict[str, Any]], keys: Sequence[str], steps: int) -> dict[str, list[float | None]]:
    """Figures before the first step and after the last one, of those that were measured at either."""
    found = {key: list(at_the_ends(rows, key, steps)) for key in keys}
    return {key: values for key, values in found.items() if values != [None, None]}


def _first_and_last(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, list[float]]:
    """Figures at the start and at the end, of those that were measured."""
    found = {key: [row[key] for row in rows if key in row] for key in keys}
    return {key: [values[0], values[-1]] for key, values in found.items() if values}
