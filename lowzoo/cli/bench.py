"""`lowzoo bench`: how long one run of a model takes, and on what."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowzoo.early import refuse_early_checkpoints
from lowzoo.errors import LowzooError

if TYPE_CHECKING:
    from lowzoo.bench.protocol import Protocol
    from lowzoo.input_facts import Side

TARGETS = ("host", "browser", "android", "iphone", "cloud")
ENGINES = {
    "host": ("onnxruntime", "executorch", "litert", "torch", "torch-compile"),
    "browser": ("onnxruntime-web",),
    "android": ("onnxruntime", "litert", "executorch"),
    "iphone": ("coreml",),
    "cloud": ("qai-hub",),
}
REPORT = "report"


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|ARTIFACT] [B]",
            callback=refuse_early_checkpoints,
            help="A file, or a MODEL that is exported first; two are compared in turns (host). "
            "`lowzoo bench report FILE...` makes a page or a picture of results.",
        ),
    ] = None,
    on: Annotated[str, typer.Option(metavar="TARGET", help="host, browser, android, iphone or cloud.")] = "host",
    engine: Annotated[
        str | None,
        typer.Option(help="host: onnxruntime, executorch, litert, torch or torch-compile; android: the first three."),
    ] = None,
    threads: Annotated[
        str, typer.Option(metavar="N[,N]", help="Threads for one operator; `all` is every core here; several in turn.")
    ] = "1",
    repeats: Annotated[
        int | None, typer.Option(metavar="N", help="Fresh processes; 5 if absent, 1 with --quick.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A first impression in seconds, marked as such.")] = False,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Random weights: an architecture's latency without its weights.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="PX|HxW", help="Of a MODEL's input: side, or height x width, such as 128x256; its own if absent."
        ),
    ] = None,
    refuse_load: Annotated[
        bool, typer.Option("--refuse-load", help="host: stop when the computer is busy, instead of flagging it.")
    ] = False,
    lan: Annotated[bool, typer.Option("--lan", help="browser: for every device of this network.")] = False,
    port: Annotated[int, typer.Option(help="browser: where to listen; 0 finds one.")] = 0,
    ort_dist: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="browser: an onnxruntime-web folder (npm); a pinned CDN version if absent."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="browser: certificate with key; https gives phones threads and WebGPU."),
    ] = None,
    devices: Annotated[int, typer.Option(metavar="N", help="browser: end when so many devices have answered.")] = 1,
    minutes: Annotated[float, typer.Option(metavar="M", help="browser: end after so long, whoever is missing.")] = 15.0,
    runner: Annotated[
        Path | None, typer.Option(metavar="PATH", help="android: the engine's own benchmark binary for the phone.")
    ] = None,
    serial: Annotated[str | None, typer.Option(help="android: which phone, when several are connected.")] = None,
    units: Annotated[str, typer.Option(help="iphone: all, cpu, cpu-and-gpu or cpu-and-ne.")] = "all",
    team: Annotated[str | None, typer.Option(help="iphone: Apple development team that signs the runner app.")] = None,
    device: Annotated[str | None, typer.Option(help="iphone, cloud: name of the device.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the JSON document here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Time one run (batch 1) of a model on a real image, by one protocol everywhere.

    In each of five fresh processes: load, first run, at least 1 s of warm-up, then 200 runs over at least 2 s, or 10 s.
    A computer's processor is a regression guard, not a phone.

    Runners for android, built for the phone (arm64-v8a): onnxruntime_perf_test (onnxruntime's build.sh --android
    --android_abi arm64-v8a), benchmark_model (LiteRT, prebuilt or by bazel), executor_runner (ExecuTorch, by cmake).

    Report: --out page.html, picture.png, or rows.toml to append to lowzoo/catalog/latencies.toml.

    Never run on a phone by us: browser (tried in Chromium on a computer, WebGPU on an adapter made of software),
    android (tried with the real adb and a device made of software), iphone (tried up to the first call that needs a Mac
    and an iPhone), cloud (tried up to the first call that needs an account).
    """
    words = models or ["rob_vit_tiny"]
    if words[0] == REPORT:
        from lowzoo.cli.bench_report import report

        report([Path(word) for word in words[1:]], out)
        return
    if len(words) > 2 or (len(words) == 2 and on != "host"):
        raise LowzooError(f"{len(words)} models cannot be compared on {on}", "Give two, with --on host")
    chosen = _engine(on, engine, words[0])
    if out is not None and out.is_dir():
        raise LowzooError(f"cannot write {out}: it is a directory", "Name a file")

    from lowzoo.bench.machine import usable_cores
    from lowzoo.files import writable_folder
    from lowzoo.input_facts import parse_size

    if out is not None:
        writable_folder(out.parent)
    protocol = _protocol(quick, repeats)
    counts = _threads(threads, usable_cores())
    sides = parse_size(size, "--size") if size is not None else None
    if on == "host":
        from lowzoo.cli import bench_host

        bench_host.run(words, chosen, protocol, counts, untrained, sides, refuse_load, out, json_)
    elif on == "browser":
        from lowzoo.bench.browser.session import Place
        from lowzoo.cli import bench_browser

        place = Place(lan, port, ort_dist, certificate, devices, minutes)
        bench_browser.run(words[0], place, protocol, untrained, sides, out, json_)
    elif on == "android":
        from lowzoo.cli import bench_phone

        bench_phone.run_android(words[0], chosen, runner, serial, protocol, counts, untrained, sides, out, json_)
    elif on == "iphone":
        from lowzoo.cli import bench_phone

        bench_phone.run_iphone(words[0], device, team, units, protocol, untrained, sides, out, json_)
    else:
        from lowzoo.cli import bench_phone

        bench_phone.run_cloud(words[0], device, untrained, sides, out, json_)


def _engine(on: str, engine: str | None, model: str) -> str:
    if on not in TARGETS:
        raise LowzooError(f"unknown target {on!r}", f"Use --on {', '.join(TARGETS[:-1])} or {TARGETS[-1]}")
    if engine is None:
        from lowzoo.bench.engines import engine_for

        fitting = engine_for(Path(model).suffix)  # a .pte or .tflite says itself what runs it
        return fitting.name if fitting and fitting.name in ENGINES[on] else ENGINES[on][0]
    if engine not in ENGINES[on]:
        raise LowzooError(f"unknown engine {engine!r} for {on}", f"Use --engine {' or '.join(ENGINES[on])}")
    return engine


def _protocol(quick: bool, repeats: int | None) -> "Protocol":
    import dataclasses

    from lowzoo.bench.protocol import QUICK, STANDARD

    protocol = QUICK if quick else STANDARD
    return protocol if repeats is None else dataclasses.replace(protocol, repeats=repeats)


def _threads(text: str, cores: int) -> tuple[int, ...]:
    words = [str(cores) if word.strip() == "all" else word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise LowzooError(f"{text!r} is no number of threads", "Use --threads 1, 1,4 or 1,all")
    return tuple(dict.fromkeys(int(word) for word in words))


@contextlib.contextmanager
def artifact_of(
    model: str, suffix: str, *, untrained: bool, precision: str = "fp32", size: "Side | None" = None
) -> Iterator[Path]:
    """Give the file to time: MODEL if it is one, else an export of it in a temporary folder.

    Args:
        model: A file, or a MODEL word.
        suffix: Suffix of the format that is needed.
        untrained: Leave the weights random.
        precision: Precision of the export.
        size: Size of the export; a file has its own already.

    Raises:
        LowzooError: A file of another format, or one with another size than its own wanted.
    """
    import tempfile

    from lowzoo.cli.export import write_checked

    path = Path(model)
    if model.endswith(suffix) or path.is_file():
        if size is not None:
            raise LowzooError(f"{path} has a size already", "Leave out --size, or name the MODEL")
        yield path
        return
    if path.suffix in (".onnx", ".pte", ".tflite", ".mlpackage"):
        raise LowzooError(f"{path} is no {suffix} file, which this engine runs", f"Name a {suffix} file or a MODEL")
    formats = {".onnx": "onnx", ".pte": "executorch", ".mlpackage": "coreml"}
    if suffix not in formats:
        raise LowzooError(f"{model} cannot be exported as {suffix} here", f"Name a {suffix} file")

    from lowzoo.export import ExportSpec, export

    spec = ExportSpec(format=formats[suffix], precision=precision, size=size)
    with tempfile.TemporaryDirectory(prefix="lowzoo-bench-") as folder:
        file = Path(folder) / f"{path.name}{suffix}"
        if untrained:
            from lowzoo.resolve import load_model

            yield export(load_model(model, image_size=size, pretrained=False), spec, file).path
        else:
            yield write_checked(model, spec, file).path


def finish(document: str, lines: Sequence[str], out: Path | None, json_: bool) -> None:
    """Write the document where it is wanted, and print it or the lines."""
    from lowzoo.files import write_text

    if out is not None:
        write_text(out, document)
    if json_:
        print(document, end="")
        return
    for line in lines:
        print(line)
    if out is not None:
        print(f"Written to {out}")
