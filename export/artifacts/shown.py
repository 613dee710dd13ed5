"""What was exported and what a check found, as lines for people."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lowzoo.base.next_line import next_line
from lowzoo.export.parity.parity import Parity, bounds_of
from lowzoo.export.spec.bounds import Bounds
from lowzoo.export.spec.large import data_files

if TYPE_CHECKING:
    from lowzoo.export.artifact import Artifact
    from lowzoo.export.checking import Report

_WEIGHTS = {
    True: ", the weights that the file was made from",
    False: ", which are other weights than the file was made from",
    None: "; the file does not say which weights it was made from",
}


def artifact_lines(artifact: "Artifact") -> Iterator[str]:
    """An artifact that was written, its parity, and how an app feeds it."""
    spec = artifact.spec
    shape = " x ".join(str(side or "N") for side in artifact.input_shape)
    system = [spec.kind.call("system", spec)] if spec.kind.system is not None else []
    colour = artifact.preprocess.partition(";")[0]
    kind = (
        (f"uint8 {colour}" if spec.kind.image_is_bytes else f"{colour} image") if spec.input == "image" else "float32"
    )
    yield f"{_files(artifact.path)}: {artifact.size_bytes / 1e6:.1f} MB, {artifact.model} ({artifact.revision})"
    yield f"input {spec.input_name}: {', '.join([f'{kind} {shape}', *system, spec.precision])}"
    for each in artifact.features:
        batch = artifact.input_shape[0] or "N"
        where = f"map {each.index}, stride {each.stride}"
        yield f"output {each.name}: float32 {batch} x {' x '.join(map(str, each.shape))} (channels first), {where}"
    yield ""
    yield from parity_lines(artifact.parity, bounds_of(spec))
    yield ""
    yield f"Feed it: {artifact.preprocess}"
    for line in artifact.snippet.splitlines():
        yield f"  {line}"
    for line in artifact.warnings:
        yield f"Warning: {line}"
    yield ""
    steps = spec.kind.next_steps if not artifact.unchecked else ("info",)  # nothing here runs the file
    yield next_line(*((step, artifact.path) for step in steps))


CHANGED = (
    "CHANGED since its export: its bytes are not those that were written. Another program saved it, or it is damaged; "
    "if nobody meant to change it, export it again"
)


def report_lines(report: "Report") -> Iterator[str]:
    """What a check found."""
    ready = report.readiness
    shape = " x ".join(str(side or "N") for side in report.input_shape)
    size = f"{ready.size_bytes / 1e6:.1f} MB"
    yield f"{_files(report.path)}: {size}, {report.format}, {report.precision}, input {shape}"
    if report.unchecked:
        yield f"UNCHECKED when it was exported: {report.unchecked}; what follows is the check it lacked"
    if report.unchanged is False:
        yield CHANGED
    yield ""
    yield f"Against {report.model} ({report.revision}){_WEIGHTS[report.same_weights]}"
    yield from parity_lines(report.parity, report.bounds)
    if report.taught:
        yield f"  {report.taught}"
    yield f"  {'BROKEN: ' + '; '.join(report.broken) if report.broken else 'every bound is kept'}"
    yield ""
    if ready.operators:  # MNN's graph does not tell
        yield "Operators: " + ", ".join(f"{name} {count}" for name, count in ready.operators.items())
    for unit in ready.accelerators:
        pieces = "1 partition" if unit.partitions == 1 else f"{unit.partitions} partitions"
        yield f"  {unit.name:<24} {pieces:<15} {unit.taken} of {unit.nodes} nodes"
    for sentence in ready.advice:
        yield f"- {sentence}"


def _files(path: Path) -> str:
    """The artifact, and what lies beside it and has to go with it."""
    return " and ".join([str(path), *(each.name for each in data_files(path))])


def parity_lines(parity: Parity, bounds: Bounds) -> Iterator[str]:
    """The comparison with PyTorch as a table with its bounds; of several outputs, of each."""
    yield f"Parity with PyTorch on {parity.images} real images, by {parity.engine}"
    for one in parity.outputs:
        yield f"  {one.name}"
        yield from (f"  {line}" for line in _rows(one, bounds))
    if not parity.outputs:
        yield from _rows(parity, bounds)


def _rows(parity: Parity, bounds: Bounds) -> Iterator[str]:
    def at(word: str, bound: float | None, unit: str = "") -> str:
        return "" if bound is None else f"at {word} {bound:g}{unit}"

    agreement = None if bounds.knn_agreement is None else 100 * bounds.knn_agreement
    rows = [
        ("largest error", f"{parity.max_error:.2e}", ""),
        ("mean error", f"{parity.mean_error:.2e}", ""),
        ("relative error", f"{parity.relative_error:.2e}", at("most", bounds.relative_error)),
        ("smallest cosine", f"{parity.min_cosine:.7f}", at("least", bounds.min_cosine)),
        ("mean cosine", f"{parity.mean_cosine:.7f}", at("least", bounds.mean_cosine)),
        ("k-NN agreement", f"{100 * parity.knn_agreement:.1f} %", at("least", agreement, " %")),
    ]
    if parity.knn_loss is not None:
        points = f"{parity.knn_loss:+.2f} pt"
        rows.append((f"k-NN loss ({parity.knn_images})", points, at("most", bounds.knn_loss, " pt")))
    for label, value, bound in rows:
        yield f"  {label:<16} {value:>12}   {bound}".rstrip()
