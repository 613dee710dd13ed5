"""The card of published weights: of a set of the catalog, or of a run, from what the run states of itself."""

from typing import Any

from lowzoo import catalog
from lowzoo.base.errors import LowzooError
from lowzoo.cards.markdown import table
from lowzoo.cards.model_cards import describe_weights, evaluation
from lowzoo.catalog import Metric, ModelEntry, RecipeEntry, WeightsEntry

_NEEDED = ("recipe", "method", "student", "architecture", "size", "features", "data", "epochs", "steps", "batch_size")


def card_of_entry(entry: ModelEntry, weights: WeightsEntry, repo: str) -> str:
    """The card of weights that the catalog knows."""
    recipe = catalog.recipes()[entry.recipe]
    head = _head(
        weights.license,
        [entry.recipe],
        f"{entry.name}.{weights.tag}",
        [metric for metric in weights.metrics if not metric.of],
        ["imagenet-1k"] if weights.data == "ImageNet-1k" else None,
    )
    parts = [
        f"---\n{head}\n---",
        f"# {repo.partition('/')[2]}",
        f"`{entry.name}.{weights.tag}` of lowzoo: {entry.architecture} trained by {recipe.label} "
        f"([{recipe.title}](https://arxiv.org/abs/{recipe.arxiv})). Its feature has {entry.feature_dim} numbers: "
        f"{entry.feature}.",
        *entry.notes,
        _use(repo, entry.feature_dim, weights.input_size[1], needs_lowzoo=not entry.stock),
        *describe_weights(weights),
        _LIMITS,
        f"## Citation\n\n```bibtex\n{recipe.citation.strip()}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def card_of_run(facts: dict[str, Any], repo: str, license: str, *, needs_lowzoo: bool, size: int) -> str:
    """The card of weights that a run of `lowzoo train` made.

    Raises:
        LowzooError: A fact is missing, or the teacher's licence does not allow publishing under this one.
    """
    missing = [key for key in _NEEDED if not facts.get(key)]
    if missing:
        raise LowzooError(
            f"run.json lacks {', '.join(missing)}, which the card needs", "Finish the run again with this lowzoo"
        )
    if not license:
        raise LowzooError("the card needs the licence of the weights", "Name it with --license, e.g. Apache-2.0")
    paper = _paper(facts)
    teacher = facts.get("teacher")
    if teacher:
        _check_teacher(teacher, license)
    compatible = facts.get("compatible")
    if compatible:
        _check_license(f"model {compatible.get('model')} that the run is compatible with", compatible, license)
    figures = _figures(facts)
    trained = f"A headless `{facts['architecture']}` trained by {facts['method']} with lowzoo"
    parts = [
        f"---\n{_head(license, [facts['recipe']], repo.partition('/')[2], figures, None)}\n---",
        f"# {repo.partition('/')[2]}",
        f"{trained} ([{paper.title}](https://arxiv.org/abs/{paper.arxiv}))." if paper else f"{trained}.",
        _use(repo, facts["features"], size, needs_lowzoo=needs_lowzoo),
        "## Training\n\n" + "\n".join(f"- {fact}" for fact in _run_lines(facts, teacher, license)),
        *([_results(figures)] if figures else ["No figures have been measured."]),
        _LIMITS,
        *([f"## Citation\n\n```bibtex\n{paper.citation.strip()}\n```"] if paper else []),
    ]
    return "\n\n".join(parts) + "\n"


def _paper(facts: dict[str, Any]) -> RecipeEntry | None:
    """The paper of a run's recipe: as the run states it, or as the catalog does for runs from before they did.

    Raises:
        LowzooError: Neither knows the recipe, or the run states something else.
    """
    if "paper" not in facts:
        if facts["recipe"] not in catalog.recipes():
            raise LowzooError(f"run.json names the unknown recipe {facts['recipe']}", "Update lowzoo")
        return catalog.recipes()[facts["recipe"]]
    if facts["paper"] is None:
        return None
    try:
        return RecipeEntry(**facts["paper"])
    except TypeError as error:
        raise LowzooError(f"run.json states a paper that is none ({error})", "Mend it, or set it to null") from None


_LIMITS = (
    "## Intended use and limits\n\nFeatures for tasks of computer vision on small devices, after training of a head on "
    "data of the task. The weights inherit gaps and biases of their training images and must not decide about people."
)


def _head(license: str, tags: list[str], name: str, figures: list[Metric], datasets: list[str] | None) -> str:
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=license.lower(),
        library_name="timm",
        pipeline_tag="image-feature-extraction",
        datasets=datasets,
        tags=["timm", "lowzoo", *tags, "image-feature-extraction"],
        model_name=name if figures else None,
        eval_results=[evaluation(metric) for metric in figures] or None,
    )
    return str(data.to_yaml()).strip()


def _use(repo: str, features: int, size: int, *, needs_lowzoo: bool) -> str:
    note = "\n\n**Needs lowzoo**: the network is none of timm's." if needs_lowzoo else ""
    return (
        "## Use\n\n```python\n"
        f"import {'lowzoo, ' if needs_lowzoo else ''}timm, torch\n\n"
        f'model = timm.create_model("hf-hub:{repo}", pretrained=True).eval()\n'
        f"features = model(torch.zeros(1, 3, {size}, {size}))  # (1, {features})\n"
        f"```\n\nFor phones: `lowzoo export hf-hub:{repo} --format onnx`.{note}"
    )


def _check_teacher(teacher: dict[str, Any], license: str) -> None:
    name = teacher.get("name") or "?"
    theirs = teacher.get("license") or ""
    if not (teacher.get("training") and theirs):
        raise LowzooError(
            f"run.json does not state training and licence of the teacher {name}, which the card needs",
            "Train with a teacher of `lowzoo teachers`, or add what is known of it to run.json",
        )
    _check_license(f"teacher {name}", teacher, license)


def _check_license(whose: str, source: dict[str, Any], license: str) -> None:
    """Refuse weights that the licence of what they were trained with does not allow."""
    theirs = source.get("license") or ""
    if not theirs:
        raise LowzooError(
            f"run.json does not state the licence of the {whose}, which the card needs",
            "Add what is known of it to run.json, or train with one whose licence is known",
        )
    allowed = source.get("derivatives_may_be_published")
    if allowed is False or "ND" in theirs.upper().split("-"):
        raise LowzooError(
            f"the licence of the {whose}, {theirs}, forbids publishing weights derived from it",
            "Keep them to yourself, or train with another one",
        )
    if allowed is None and theirs == "NOASSERTION":
        raise LowzooError(
            f"nobody states whether weights derived from the {whose} may be published", "Ask its authors first"
        )
    if "NC" in theirs.upper().split("-") and "NC" not in license.upper().split("-"):
        raise LowzooError(
            f"the {whose} stands under {theirs}, which {license} would not keep to", f"Name --license {theirs}"
        )


def _run_lines(facts: dict[str, Any], teacher: dict[str, Any] | None, license: str) -> list[str]:
    data = facts["data"]
    lines = [f"**Data**: {data['name']}, {data['images']:,} images (fingerprint `{data['fingerprint']}`)."]
    if teacher:
        lines.append(f"**Teacher**: {teacher['name']} (`{teacher['architecture']}`, {teacher['training']}).")
        lines.append(f"**Head of the teacher**: {teacher.get('head') or 'not stated'}.")
        if teacher.get("extension"):
            lines.append("**Extension of the paper**: the head was fitted; the paper uses the teacher's own.")
    else:
        lines.append("**Teacher**: none.")
    compatible = facts.get("compatible")
    if compatible:
        lines.append(
            f"**Compatible with**: {compatible['model']} ({compatible['license']}, weights "
            f"`sha256:{compatible['weights'][:12]}`), by the map in `compatible.safetensors`."
        )
    lines += [
        f"**Length**: {facts['epochs']} epochs, {facts['steps']} steps of {facts['batch_size']} images.",
        f"**Licences**: weights {license}; teacher {teacher['license'] if teacher else 'none'}; the data's own terms "
        "hold for the data.",
    ]
    if versions := facts.get("versions"):
        lines.append("**Made with**: " + ", ".join(f"{name} {number}" for name, number in versions.items()) + ".")
    return lines


def _figures(facts: dict[str, Any]) -> list[Metric]:
    result = facts.get("result") or {}
    if (knn := result.get("knn")) is None:
        return []
    protocol = f"k = {result.get('knn_neighbours', 20)}, monitor of the run"
    return [Metric("k-NN top-1", knn, facts["data"]["name"], protocol, "measured by the run")]


def _results(figures: list[Metric]) -> str:
    rows = [(one.task, f"{one.value:.2f} {one.unit}", one.data, one.protocol) for one in figures]
    return f"## Results\n\n{table(('figure', 'value', 'data', 'protocol'), rows)}"
