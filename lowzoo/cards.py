"""Model cards: one Markdown file a model, made from the catalog alone and never edited by hand."""

from collections.abc import Iterator

from lowzoo import catalog
from lowzoo.catalog import Metric, ModelEntry, WeightsEntry

_HEADS = {"own": "the teacher's own", "fitted": "fitted, since the teacher comes without one"}
_FOOTER = "Written by `lowzoo cards` from the catalog; change the catalog, not this file."


def render_cards() -> dict[str, str]:
    """The text of every card by file name, in the order of the catalog."""
    return {f"{entry.name}.md": render_card(entry) for entry in catalog.models().values()}


def render_card(entry: ModelEntry) -> str:
    """The card of one model: a YAML head as the Hub reads it, then the text."""
    parts = [f"---\n{_head(entry).strip()}\n---", f"# {entry.name}", *_body(entry), _FOOTER]
    return "\n\n".join(parts) + "\n"


def _head(entry: ModelEntry) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-feature-extraction",
            dataset_type="image",
            dataset_name=metric.data,
            metric_type="accuracy",
            metric_name=f"{metric.task} ({metric.protocol}; {metric.source})",
            metric_value=metric.value,
        )
        for metric in entry.default.metrics
        if not metric.of
    ]
    data = ModelCardData(
        license=entry.default.license.lower() or None,
        library_name="timm",
        pipeline_tag="image-feature-extraction",
        tags=["timm", "lowzoo", entry.recipe, "image-feature-extraction"],
        model_name=entry.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _body(entry: ModelEntry) -> Iterator[str]:
    recipe = catalog.recipes()[entry.recipe]
    yield (
        f"A low-compute vision backbone: `{entry.architecture}` of timm, trained by {recipe.label} "
        f"([{recipe.title}](https://arxiv.org/abs/{recipe.arxiv})). "
        f"Its feature has {entry.feature_dim} numbers: {entry.feature}."
    )
    yield from entry.notes
    yield "## Weights"
    yield _table(
        ("tag", "pixels", "parameters", "GMAC", "weights", "licence"),
        [
            (
                f"`{weights.tag}`{' (default)' if weights is entry.default else ''}",
                str(weights.input_size[1]),
                f"{weights.params / 1e6:.2f} M",
                f"{weights.gmacs:.2f}",
                weights.origin if weights.available else "not published",
                weights.license or "none",
            )
            for weights in entry.weights
        ],
    )
    yield "## Use"
    yield from _use(entry)
    for weights in entry.weights:
        yield f"## {weights.tag}"
        yield from _weights(weights)
    yield "## Citation"
    yield f"```bibtex\n{recipe.citation}\n```"


def _use(entry: ModelEntry) -> Iterator[str]:
    default = entry.default
    _, height, width = default.input_size
    resized = round(height / default.crop_pct)
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
    if not entry.stock:
        yield f"The network is not exactly timm's `{entry.architecture}`; its weights need lowzoo to load."


def _weights(weights: WeightsEntry) -> Iterator[str]:
    teacher = catalog.teacher(weights.teacher)
    yield weights.summary
    images = f", {weights.images:,} photographs" if weights.images else ""
    classes = f" ({weights.classes} classes)" if weights.classes else ""
    facts = [
        f"**Data**: {weights.data}{images}{classes}, at {weights.input_size[1]} px.",
        f"**Teacher**: `{teacher.architecture}`, {teacher.training}; licence {teacher.license}.",
        f"**Head of the targets**: {_HEADS[weights.head]}.",
        f"**Objective**: {weights.objective}.",
        *([f"**Extension of the paper**: {weights.extension}"] if weights.extension else []),
        "**Labels**: none were used, neither for the student nor for the teacher."
        if weights.label_free
        else "**Labels**: the student saw none, but its teacher was trained with labels, "
        "so these weights are **not label-free**.",
        *([f"**Epochs**: {weights.epochs}."] if weights.epochs else []),
        f"**Command**: `{weights.train}`",
        f"**Source of these facts**: {weights.source}.",
    ]
    yield "\n".join(f"- {fact}" for fact in facts)
    if weights.notes:
        yield " ".join(weights.notes)
    if weights.metrics:
        yield _figures(weights.metrics)
    elif weights.available:
        yield "No figures have been measured or published."
    else:
        yield "These weights are not published and no figures of them are known; the command above makes them."


def _figures(metrics: tuple[Metric, ...]) -> str:
    return _table(
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


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
