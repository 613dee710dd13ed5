"""Model cards: one Markdown file a model, made from the catalog alone and never edited by hand."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lowzoo import catalog
from lowzoo.cards.markdown import table
from lowzoo.catalog import LatencyEntry, Metric, ModelEntry, WeightsEntry

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_HEADS = {"own": "the teacher's own", "fitted": "fitted, since the teacher comes without one"}
_DATASETS = {"ImageNet-1k": ["imagenet-1k"]}
_DATA_TERMS = {
    "ImageNet-1k": "Its photographs stand under the terms of image-net.org (non-commercial research).",
    "Tiny ImageNet": "Its photographs come from ImageNet and stand under the terms of image-net.org.",
}
_LIMITS = (
    "Features for classifiers, retrieval and other tasks of computer vision on small devices, after training or tuning "
    "of a head on data of the task. The weights have seen photographs of the data set named above and inherit its gaps "
    "and biases; nothing is known of how they behave on medical, aerial or document images, and they must not decide "
    "about people."
)
_FOOTER = "Written by `lowzoo cards` from the catalog; change the catalog, not this file."


def render_cards() -> dict[str, str]:
    """The text of every card by file name, in the order of the catalog."""
    return {f"{entry.name}.md": render_card(entry) for entry in catalog.models().values()}


def render_card(entry: ModelEntry) -> str:
    """The card of one model: a YAML head as the Hub reads it, then the text."""
    parts = [f"---\n{_head(entry).strip()}\n---", f"# {entry.name}", *_body(entry), _FOOTER]
    return "\n\n".join(parts) + "\n"


def _head(entry: ModelEntry) -> str:
    from huggingface_hub import ModelCardData

    results = [evaluation(metric) for metric in entry.default.metrics if not metric.of]
    data = ModelCardData(
        license=entry.default.license.lower() or None,
        library_name="timm",
        pipeline_tag="image-feature-extraction",
        datasets=_DATASETS.get(entry.default.data),
        tags=["timm", "lowzoo", entry.recipe, "image-feature-extraction"],
        model_name=entry.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def evaluation(metric: Metric) -> "EvalResult":
    """A figure as the Hub's model index has it."""
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="image-feature-extraction",
        dataset_type="image",
        dataset_name=metric.data,
        metric_type="accuracy" if metric.unit == "%" else metric.unit.lower(),
        metric_name=f"{metric.task} ({metric.protocol}; {metric.source})",
        metric_value=metric.value,
    )


def _body(entry: ModelEntry) -> Iterator[str]:
    recipe = catalog.recipes()[entry.recipe]
    yield (
        f"A low-compute vision backbone: `{entry.architecture}` of timm, trained by {recipe.label} "
        f"([{recipe.title}](https://arxiv.org/abs/{recipe.arxiv})). "
        f"Its feature has {entry.feature_dim} numbers: {entry.feature}."
    )
    yield from entry.notes
    described = [weights for weights in entry.weights if weights.origin != "unpublished"]
    planned = [weights for weights in entry.weights if weights.origin == "unpublished"]
    if described:
        yield "## Weights"
        yield table(
            ("tag", "pixels", "parameters", "GMAC", "weights", "licence"),
            [
                (
                    f"`{weights.tag}`{' (default)' if weights is entry.default else ''}",
                    str(weights.input_size[1]),
                    f"{weights.params / 1e6:.2f} M",
                    f"{weights.gmacs:.2f}",
                    weights.origin,
                    weights.license or "none",
                )
                for weights in described
            ],
        )
    yield "## Use"
    yield from _use(entry)
    for weights in described:
        yield f"## {weights.tag}"
        yield from describe_weights(weights)
    if planned:
        yield "## To train"
        yield from _planned(planned)
    if latencies := catalog.latencies_of(entry):
        yield "## Latency"
        yield from _latency(latencies)
    yield "## Intended use and limits"
    yield _LIMITS
    yield "## Citation"
    yield f"```bibtex\n{recipe.citation}\n```"


def _use(entry: ModelEntry) -> Iterator[str]:
    default = entry.default
    _, height, width = default.input_size
    resized = math.floor(height / default.crop_pct)
    pretrained = ", pretrained=True" if default.available else ""
    yield (
        "```python\n"
        "import lowzoo, timm, torch\n\n"
        f'model = timm.create_model("lowzoo/{entry.name}"{pretrained}).eval()\n'
        f"features = model(torch.zeros(1, 3, {height}, {width}))  # (1, {entry.feature_dim})\n"
        "```"
    )
    if not default.available:
        yield "There are no published weights: the line above gives a random initialisation."
    yield (
        f"Images are RGB; the shorter side is resized to {resized} px ({default.interpolation}), the centre "
        f"{height} x {width} is cut out and normalised with mean {list(default.mean)} and standard deviation "
        f"{list(default.std)}. With `num_classes=N` a fresh classifier sits on the features."
    )
    if default.available:
        yield (
            f"For phones: `lowzoo export {entry.name} --format onnx` writes one file with the normalisation inside, "
            "and keeps it only if it agrees with PyTorch. `lowzoo publish` puts a folder of these weights on the Hub: "
            + (
                f"it is timm's `{entry.architecture}` there and loads without lowzoo."
                if entry.stock
                else "it needs lowzoo to load there, too."
            )
        )
    if not entry.stock:
        yield f"**Needs lowzoo**: the network is not exactly timm's `{entry.architecture}`."


def describe_weights(weights: WeightsEntry) -> Iterator[str]:
    """The paragraphs of one set of weights: what it is, where it comes from, its figures."""
    yield weights.summary
    yield "\n".join(f"- {fact}" for fact in _facts(weights))
    if weights.notes:
        yield " ".join(weights.notes)
    if weights.metrics:
        yield _figures(weights.metrics)
    else:
        yield "No figures have been measured or published."


def _facts(weights: WeightsEntry) -> Iterator[str]:
    images = f", {weights.images:,} photographs" if weights.images else ""
    classes = f" ({weights.classes} classes)" if weights.classes else ""
    terms = f" {_DATA_TERMS[weights.data]}" if weights.data in _DATA_TERMS else ""
    yield f"**Data**: {weights.data}{images}{classes}, at {weights.input_size[1]} px.{terms}"
    if weights.teacher:
        teacher = catalog.teacher(weights.teacher)
        yield f"**Teacher**: `{teacher.architecture}`, {teacher.training}; licence {teacher.license}."
    if weights.teacher_note:
        yield f"**Teacher**: {weights.teacher_note}."
    if weights.teacher or weights.teacher_note:
        yield f"**Head of the targets**: {_HEADS[weights.head]}."
    else:
        yield "**Teacher**: none."
    yield f"**Objective**: {weights.objective}."
    if weights.extension:
        yield f"**Extension of the paper**: {weights.extension}"
    if weights.label_free:
        yield "**Labels**: none were used, neither for the student nor for any teacher."
    else:
        yield (
            "**Labels**: the student saw none, but its teacher was trained with labels, "
            "so these weights are **not label-free**."
        )
    if weights.epochs:
        yield f"**Epochs**: {weights.epochs}."
    if weights.checkpoint:
        place = f"[{weights.repo}](https://huggingface.co/{weights.repo})" if weights.repo else f"<{weights.page}>"
        pin = f" at commit `{weights.revision}`" if weights.revision else ""
        yield f"**File**: `{weights.checkpoint}` of {place}{pin}, converted by lowzoo when it is first loaded."
        yield f"**Network in the file**: {weights.branch}."
    if weights.unavailable_reason:
        yield f"**Unavailable**: {weights.unavailable_reason}."
    if weights.train:
        kind = "Command" if weights.origin == "bundled" else "Command that trains such weights"
        yield f"**{kind}**: `{weights.train}`"
    if weights.license:
        allowed = "allows" if weights.derivatives else "does not allow"
        yield f"**Licence of the weights**: {weights.license}, which {allowed} derived weights."
    yield f"**Source of these facts**: {weights.source}."


def _planned(planned: list[WeightsEntry]) -> Iterator[str]:
    yield (
        "These weights are not published and no figures of them are known; the commands make them. Source of the "
        f"settings: {planned[0].source}."
    )
    yield table(
        ("tag", "objective", "epochs", "teacher's licence", "command"),
        [
            (
                f"`{weights.tag}`",
                weights.objective,
                str(weights.epochs),
                catalog.teacher(weights.teacher).license,
                f"`{weights.train}`",
            )
            for weights in planned
        ],
    )


def _latency(latencies: list[LatencyEntry]) -> Iterator[str]:
    if measured := [row for row in latencies if not row.is_reference]:
        yield "Measured by `lowzoo bench`:"
        yield _latency_rows(measured)
    if references := [row for row in latencies if row.is_reference]:
        yield (
            "References: published by others for this architecture with its ImageNet classifier, each by its own "
            "protocol. They are not measurements of these weights and are not to be compared with such."
        )
        yield _latency_rows(references)


def _latency_rows(rows: list[LatencyEntry]) -> str:
    return table(
        ("device", "engine", "precision", "ms", "protocol", "source"),
        [(row.device_label, row.engine, row.precision, f"{row.ms:g}", row.protocol, row.source) for row in rows],
    )


def _figures(metrics: tuple[Metric, ...]) -> str:
    return table(
        ("of", "figure", "value", "data", "protocol", "source"),
        [
            (
                metric.of or "this model",
                metric.task,
                f"{metric.value:g} {metric.unit}",
                metric.data,
                metric.protocol,
                f"{metric.source}, `{metric.script}`" if metric.script else metric.source,
            )
            for metric in metrics
        ],
    )
