"""Results of `lowzoo bench` as lines of text, the same whatever the target."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowzoo.bench.host.comparison import Comparison
    from lowzoo.bench.results.schema import BenchResult, Device, Engine, ModelFile

HEADER = f"{'median':>10}{'p90':>10}{'p99':>10}{'min':>10}{'mean':>10}{'std':>10}{'runs':>8}"


def result_lines(result: "BenchResult") -> Iterator[str]:
    """One result in full."""
    yield f"Model: {model_words(result.model)}"
    yield f"Input: {result.input.name}, {result.input.type} {' x '.join(map(str, result.input.shape))}"
    yield f"On: {device_words(result.device)}"
    yield f"By: {engine_words(result.engine)}"
    yield f"Protocol: batch {result.input.shape[0]}, {result.protocol.in_words(result.unit)}"
    yield ""
    yield HEADER
    yield figures(result)
    yield ""
    if result.spread is not None:
        low, high = result.spread.min_ms, result.spread.max_ms
        apart = f"{100 * result.spread.relative:.1f} % apart"
        units = "processes" if result.unit == "process" else f"{result.unit}s"
        yield f"Medians of {len(result.repeats)} {units}: {low:.3f} to {high:.3f} ms, {apart}"
    parts = [
        f"load {result.load_ms:.0f} ms" if result.load_ms is not None else "",
        f"first run {result.first_run_ms:.1f} ms" if result.first_run_ms is not None else "",
        f"peak memory {result.peak_memory_mb:.0f} MB" if result.peak_memory_mb is not None else "",
    ]
    if any(parts):
        text = ", ".join(part for part in parts if part)
        yield text[0].upper() + text[1:]
    for warning in result.warnings:
        yield f"Note: {warning}"


def comparison_lines(found: "Comparison") -> Iterator[str]:
    """A comparison in full."""
    from statistics import median

    ratio = found.ratio
    yield f"A: {found.a.file}, {model_words(found.a)}"
    yield f"B: {found.b.file}, {model_words(found.b)}"
    yield f"On: {device_words(found.device)}"
    yield f"By: {engine_words(found.engine)}, in turns A B B A in one process"
    yield ""
    a_ms = median(ms for turns in found.processes for turn in turns for ms in turn.a_ms)
    b_ms = median(ms for turns in found.processes for turn in turns for ms in turn.b_ms)
    yield f"Median A {a_ms:.3f} ms, B {b_ms:.3f} ms"
    interval = f"{100 * ratio.confidence:.0f} % interval {ratio.low:.4f} to {ratio.high:.4f}"
    yield f"B / A {ratio.ratio:.4f}, {interval} ({ratio.turns} turns in {ratio.processes} processes)"
    yield f"Verdict: {ratio.verdict}"
    for warning in found.warnings:
        yield f"Note: {warning}"


def figures(result: "BenchResult") -> str:
    """The statistics under `HEADER`."""
    found = result.statistics
    times = (found.median_ms, found.p90_ms, found.p99_ms, found.min_ms, found.mean_ms, found.std_ms)
    return "".join(f"{ms:10.3f}" for ms in times) + f"{found.n:>8}   ms"


def model_words(model: "ModelFile") -> str:
    """Name, size and precision."""
    precision = f", {model.precision}" if model.precision else ""
    return f"{model.name or model.file}, {model.size_bytes / 1e6:.1f} MB{precision}"


def device_words(device: "Device") -> str:
    """What the model ran on."""
    cores = f"{device.cores} cores" if device.cores else ""
    parts = (
        device.name if device.kind == "phone" else "",
        device.cpu or device.soc,
        cores,
        f"{device.os} {device.arch or ''}".strip(),
    )
    return ", ".join(part for part in parts if part)


def engine_words(engine: "Engine") -> str:
    """What ran the model."""
    return f"{engine.name} {engine.version}, {engine.provider}, {engine.threads} thread{'s' * (engine.threads > 1)}"
