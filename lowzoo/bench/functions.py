"""`lowzoo.bench.latency` and `lowzoo.bench.compare`: what `lowzoo bench` calls."""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lowzoo.base.options import Option, OutFile, Progress, read_literally

if TYPE_CHECKING:
    from torch import nn

    from lowzoo.bench.results.protocol import Protocol
    from lowzoo.bench.timing import Latency, TimedPair
    from lowzoo.zoo.resolve import Resolved

Timed = Annotated["str | Path | nn.Module | Resolved", Option(metavar="MODEL|ARTIFACT")]
Size = Annotated[
    int | tuple[int, int] | None, Option(metavar="PX|HxW", read="lowzoo.preprocess.input_facts:parse_size")
]


def latency(
    model: Timed = "rob_vit_tiny",
    *,
    on: Annotated[str, Option(metavar="TARGET", names_from="lowzoo.bench.targets:WITH_NEEDS")] = "host",
    engine: str | None = None,
    threads: Annotated[int | Sequence[int] | str, Option(metavar="N[,N]", read=read_literally)] = "1",
    repeats: Annotated[int | None, Option(metavar="N")] = None,
    quick: bool = False,
    untrained: bool = False,
    size: Size = None,
    refuse_load: bool = False,
    lan: bool = False,
    port: int = 0,
    ort_dist: Annotated[str | Path | None, Option(metavar="DIR")] = None,
    certificate: Annotated[str | Path | None, Option(metavar="PEM")] = None,
    devices: Annotated[int, Option(metavar="N")] = 1,
    minutes: Annotated[float, Option(metavar="M")] = 15.0,
    runner: Annotated[str | Path | None, Option(metavar="PATH")] = None,
    serial: str | None = None,
    units: Literal["all", "cpu", "cpu-and-gpu", "cpu-and-ne"] = "all",
    team: str | None = None,
    device: str | None = None,
    settings: Annotated[Mapping[str, str] | Sequence[str], Option("--set", metavar="KEY=VALUE")] = (),
    out: OutFile = None,
    progress: Progress = None,
) -> "Latency":
    """Time one run (batch 1) of a model on a real image, by one protocol everywhere.

    In each of five fresh processes: load, first run, at least 1 s of warm-up, then 200 runs over at least 2 s, or 10 s.
    A computer's CPU is a regression guard, not a phone.

    Args:
        model: A file, or a MODEL that is exported first. In Python also what `lowzoo.load` gave, or a network.
        on: Where to time.
        engine: What runs it; host: onnxruntime, executorch, litert, openvino, ncnn, mnn, torch or torch-compile;
            android: the first three.
        threads: Threads for one operator; `all` is every core here; several in turn.
        repeats: Fresh processes; 5 if absent, 1 with --quick.
        quick: A first impression in seconds, marked as such.
        untrained: Random weights: an architecture's latency without its weights.
        size: Size of a MODEL's input: side, or height x width, such as 128x256; its own if absent.
        refuse_load: host: stop when the computer is busy, instead of flagging it.
        lan: browser: for every device of this network.
        port: browser: where to listen; 0 finds one.
        ort_dist: browser: an onnxruntime-web folder (npm); a pinned CDN version if absent.
        certificate: browser: certificate for this computer's address, with key; https gives phones threads and WebGPU.
        devices: browser: end when so many devices have answered.
        minutes: browser: end after so long, whoever is missing.
        runner: android: the engine's own benchmark binary for the phone.
        serial: android: which phone, when several are connected.
        units: iphone: compute units.
        team: iphone: Apple development team that signs the runner app.
        device: iphone, cloud: name of the device.
        settings: A setting of a target from another package; may be repeated.
        out: Also write the JSON document here.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        The results, with every sample.

    Raises:
        LowzooError: Unknown model, target or engine, an option of another target, or a device that is not there.
    """
    given = dict(locals())

    from lowzoo.base.lazy import resolved_place
    from lowzoo.base.progress import told
    from lowzoo.bench.targets import TARGETS, Request
    from lowzoo.bench.timing import Latency
    from lowzoo.system.cores import usable_cores

    target = TARGETS[on]
    chosen = _engine(on, target.all_engines(), engine, model)
    document = _place(out)
    protocol = _protocol(quick, repeats)
    counts = _threads(threads, usable_cores())
    options = _own_options(given, target.options, on) | _own_settings(settings, target.settings, on)
    stopped: list[bool] = []
    with told(progress) as say:
        request = Request(
            model=model,
            engine=chosen,
            protocol=protocol,
            threads=counts,
            untrained=untrained,
            size=size,
            options=options,
            say=say,
            interrupted=lambda: stopped.append(True),
        )
        results = target.run(request)
    found = Latency(results, document, bool(stopped), resolved_place(target.shower))
    _write(document, found)
    return found


def compare(
    a: Timed,
    b: Timed,
    *,
    engine: str | None = None,
    threads: Annotated[int | str, Option(metavar="N", read=read_literally)] = "1",
    repeats: Annotated[int | None, Option(metavar="N")] = None,
    quick: bool = False,
    untrained: bool = False,
    size: Size = None,
    refuse_load: bool = False,
    out: OutFile = None,
    progress: Progress = None,
) -> "TimedPair":
    """Time two models on this computer in turns A B B A, so that drift and neighbours fall upon both alike.

    Args:
        a: A file, or a MODEL that is exported first. In Python also what `lowzoo.load` gave, or a network.
        b: The other one.
        engine: What runs both: onnxruntime, executorch, litert, openvino, ncnn, mnn, torch or torch-compile.
        threads: Threads for one operator; `all` is every core here.
        repeats: Fresh processes; 5 if absent, 1 with --quick.
        quick: A first impression in seconds, marked as such.
        untrained: Random weights: an architecture's latency without its weights.
        size: Size of a MODEL's input: side, or height x width, such as 128x256; its own if absent.
        refuse_load: Stop when the computer is busy, instead of flagging it.
        out: Also write the JSON document here.
        progress: Takes each line of what is being done, such as `print`; None is silent.

    Returns:
        The ratio of the times with its interval, and every sample.

    Raises:
        LowzooError: Unknown model or engine, or a computer that is busy where that is refused.
    """
    from lowzoo.base.errors import LowzooError
    from lowzoo.base.progress import told
    from lowzoo.bench.host.target import compare_host
    from lowzoo.bench.targets import TARGETS, Request
    from lowzoo.bench.targets.host import subject
    from lowzoo.bench.timing import TimedPair
    from lowzoo.system.cores import check_threads, usable_cores

    chosen = _engine("host", TARGETS["host"].all_engines(), engine, a)
    document, protocol = _place(out), _protocol(quick, repeats)
    counts = _threads(threads, usable_cores())
    for count in counts:
        check_threads(count)
    with told(progress) as say, contextlib.ExitStack() as stack:
        requests = [Request(model, chosen, protocol, counts, untrained, size, {}, say) for model in (a, b)]
        pair = [stack.enter_context(subject(request)) for request in requests]
        if len(counts) != 1:
            raise LowzooError("a comparison takes one number of threads", "Use --threads N")
        comparison = compare_host(pair, protocol=protocol, threads=counts[0], engine=chosen, refuse_load=refuse_load)
    found = TimedPair(comparison, document)
    _write(document, found)
    return found


def _engine(on: str, engines: Sequence[str], engine: str | None, model: Any) -> str:
    from lowzoo.base.errors import LowzooError

    if engine is None:
        from lowzoo.bench.engines import engine_for

        # A .pte or .tflite says itself what runs it.
        fitting = engine_for(Path(model).suffix) if isinstance(model, (str, Path)) else None
        return fitting.name if fitting and fitting.name in engines else engines[0]
    if engine not in engines:
        raise LowzooError(f"unknown engine {engine!r} for {on}", f"Use --engine {' or '.join(engines)}")
    return engine


def _place(out: str | Path | None) -> Path | None:
    from lowzoo.base.errors import LowzooError
    from lowzoo.io.files import writable_folder

    if out is None:
        return None
    path = Path(out)
    if path.is_dir():
        raise LowzooError(f"cannot write {path}: it is a directory", "Name a file")
    writable_folder(path.parent)
    return path


def _write(path: Path | None, found: "Latency | TimedPair") -> None:
    from lowzoo.io.files import write_text

    if path is not None:
        write_text(path, found.to_json())


def _protocol(quick: bool, repeats: int | None) -> "Protocol":
    import dataclasses

    from lowzoo.bench.results.protocol import QUICK, STANDARD

    protocol = QUICK if quick else STANDARD
    return protocol if repeats is None else dataclasses.replace(protocol, repeats=repeats)


def _threads(given: int | Sequence[int] | str, cores: int) -> tuple[int, ...]:
    from lowzoo.base.errors import LowzooError

    parts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int) else list(given)
    words = [str(cores) if str(part).strip() == "all" else str(part).strip() for part in parts]
    if not words or not all(word.isdecimal() for word in words):
        raise LowzooError(f"{given!r} is no number of threads", "Use --threads 1, 1,4 or 1,all")
    return tuple(dict.fromkeys(int(word) for word in words))


def _own_options(given: Mapping[str, Any], wanted: Sequence[str], on: str) -> dict[str, Any]:
    """The target's own options; one of another target that was given is refused."""
    from lowzoo.base.errors import LowzooError
    from lowzoo.bench.targets import TARGETS

    known = {option for each in TARGETS.specs() for option in each.options}
    for name, parameter in inspect.signature(latency).parameters.items():
        if name in known and name not in wanted and given[name] != parameter.default:
            owners = [each.name for each in TARGETS.specs() if name in each.options]
            option = f"--{name.replace('_', '-')}"
            raise LowzooError(f"{option} is for {' and '.join(owners)}, not for {on}", f"Leave out {option}")
    paths = ("ort_dist", "certificate", "runner")
    return {name: Path(given[name]) if name in paths and given[name] is not None else given[name] for name in wanted}


def _own_settings(given: Mapping[str, str] | Sequence[str], known: Mapping[str, str], on: str) -> dict[str, str]:
    from lowzoo.base.errors import LowzooError

    pairs = given.items() if isinstance(given, Mapping) else [tuple(word.partition("=")[::2]) for word in given]
    found = dict(known)
    for name, value in pairs:
        if name not in known:
            has = f"Choose of: {', '.join(known)}" if known else "Leave it out"
            raise LowzooError(f"{on} has no setting {name!r}", has)
        found[name] = str(value)
    return found
