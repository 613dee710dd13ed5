"""`lowzoo bench`: how long one run of a model takes, and on what."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.bench.protocol import Protocol
    from lowzoo.bench.schema import BenchResult

TARGETS = ("host",)
PLANNED_TARGETS = ("android", "iphone", "browser", "cloud")
ENGINES = ("onnxruntime",)
SUFFIX = ".onnx"


def bench(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL|ARTIFACT]", help="An .onnx file, or a MODEL that is exported first.")
    ] = "rob_vit_tiny",
    on: Annotated[str, typer.Option(metavar="TARGET", help="Where to run: host, this computer's processor.")] = "host",
    engine: Annotated[str, typer.Option(help="What runs it: onnxruntime.")] = "onnxruntime",
    threads: Annotated[int, typer.Option(metavar="N", help="Threads for one operator.")] = 1,
    repeats: Annotated[
        int | None, typer.Option(metavar="N", help="Fresh processes; 5 if absent, 1 with --quick.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A first impression in seconds, marked as such.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the JSON document here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Time one run (batch 1) of a model on a real image.

    In each of five fresh processes: load, first run, at least 1 s of warm-up, then 200 runs over at least 2 s, or 10 s.
    A computer's processor is a regression guard, not a phone.
    """
    import dataclasses
    import tempfile

    _check_words(on, engine)

    from lowzoo.bench.protocol import QUICK, STANDARD
    from lowzoo.files import writable_folder, write_text

    protocol = QUICK if quick else STANDARD
    if repeats is not None:
        protocol = dataclasses.replace(protocol, repeats=repeats)
    if out is not None:
        if out.is_dir():
            raise LowzooError(f"cannot write {out}: it is a directory", "Name a file")
        writable_folder(out.parent)
    if model.endswith(SUFFIX) or Path(model).is_file():
        result = _time(Path(model), protocol, threads)
    else:
        from lowzoo.bench.machine import check_threads
        from lowzoo.cli.export import write_checked
        from lowzoo.export import ExportSpec

        check_threads(threads)
        with tempfile.TemporaryDirectory(prefix="lowzoo-bench-") as folder:
            file = Path(folder) / f"{Path(model).name}{SUFFIX}"
            result = _time(write_checked(model, ExportSpec(), file).path, protocol, threads)
    if out is not None:
        write_text(out, result.to_json())
    if json_:
        print(result.to_json(), end="")
        return
    for line in _report(result):
        print(line)
    if out is not None:
        print(f"Written to {out}")


def _check_words(on: str, engine: str) -> None:
    if on in PLANNED_TARGETS:
        raise LowzooError(f"target {on!r} cannot be measured yet", f"Use --on {' or '.join(TARGETS)}")
    if on not in TARGETS:
        raise LowzooError(f"unknown target {on!r}", f"Use --on {' or '.join(TARGETS)}")
    if engine not in ENGINES:
        raise LowzooError(f"unknown engine {engine!r} for {on}", f"Use --engine {' or '.join(ENGINES)}")


def _time(file: Path, protocol: "Protocol", threads: int) -> "BenchResult":
    from lowzoo.bench.host import bench_host

    return bench_host(file, protocol=protocol, threads=threads)


def _report(result: "BenchResult") -> Iterator[str]:
    model, engine, device, found = result.model, result.engine, result.device, result.statistics
    precision = f", {model.precision}" if model.precision else ""
    yield f"Model: {model.name or model.file}, {model.size_bytes / 1e6:.1f} MB{precision}"
    yield f"Input: {result.input.name}, {result.input.type} {' x '.join(map(str, result.input.shape))}"
    yield f"On: {device.cpu}, {device.cores} cores, {device.os} {device.arch}"
    yield f"By: {engine.name} {engine.version}, {engine.threads} thread{'s' if engine.threads > 1 else ''}"
    yield ""
    yield f"{'median':>10}{'p90':>10}{'p99':>10}{'min':>10}{'mean':>10}{'std':>10}{'runs':>8}"
    times = (found.median_ms, found.p90_ms, found.p99_ms, found.min_ms, found.mean_ms, found.std_ms)
    yield "".join(f"{ms:10.3f}" for ms in times) + f"{found.n:>8}   ms"
    yield ""
    if result.spread is not None:
        low, high = result.spread.min_ms, result.spread.max_ms
        apart = f"{100 * result.spread.relative:.1f} % apart"
        yield f"Medians of {len(result.repeats)} processes: {low:.3f} to {high:.3f} ms, {apart}"
    memory = f", peak memory {result.peak_memory_mb:.0f} MB" if result.peak_memory_mb is not None else ""
    yield f"Load {result.load_ms:.0f} ms, first run {result.first_run_ms:.1f} ms{memory}"
    for warning in result.warnings:
        yield f"Note: {warning}"
