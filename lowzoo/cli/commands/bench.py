"""`lowzoo bench`: how long one run of a model takes, and on what; two models in turns; a report of results."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lowzoo.base.errors import LowzooError
from lowzoo.base.options import Option, OutFile, Progress
from lowzoo.bench.functions import compare, latency
from lowzoo.cli.options.from_signature import command
from lowzoo.cli.options.on_stderr import on_stderr

if TYPE_CHECKING:
    from lowzoo.bench.timing import Latency, TimedPair

REPORT = "report"
_INTERRUPTED = 130


class _Report:
    """A report that was printed or written already."""

    interrupted = False

    def lines(self) -> Iterator[str]:
        """Nothing is left to say."""
        return iter(())


def _bench(
    models: Annotated[
        Sequence[str],
        Option(metavar="[MODEL|ARTIFACT] [B]", early="lowzoo.checkpoints.early:refuse_early_checkpoints"),
    ] = (),
    *,
    on: Annotated[str, Option(metavar="TARGET", names_from="lowzoo.bench.targets:WITH_NEEDS")] = "host",
    out: OutFile = None,
    progress: Progress = None,
    **options: Any,
) -> "Latency | TimedPair | _Report":
    """Time one run (batch 1) of a model on a real image, by one protocol everywhere.

    In each of five fresh processes: load, first run, at least 1 s of warm-up, then 200 runs over at least 2 s, or 10 s.
    A computer's CPU is a regression guard, not a phone.

    Runners for android, built for the phone (arm64-v8a): onnxruntime_perf_test (onnxruntime's build.sh --android
    --android_abi arm64-v8a), benchmark_model (LiteRT, prebuilt or by bazel), executor_runner (ExecuTorch, by cmake).

    Report: --out page.html, picture.png, or rows.toml to append to lowzoo/catalog/latencies.toml.

    Never run on a phone by us: browser (tried in Chromium on a computer, WebGPU on an adapter made of software),
    android (tried with the real adb and a device made of software), iphone (tried up to the first call that needs a Mac
    and an iPhone), cloud (tried up to the first call that needs an account).

    Args:
        models: A file, or a MODEL that is exported first; two are compared in turns (host). `lowzoo bench report
            FILE...` makes a page or a picture of results.
        on: Where to time.
        out: Also write the JSON document here.
        progress: Takes lines.
        **options: As of `lowzoo.bench.latency`.
    """
    words = list(models) or ["rob_vit_tiny"]
    if words[0] == REPORT:
        from lowzoo.bench.results.report_text import report

        report([Path(word) for word in words[1:]], None if out is None else Path(out))
        return _Report()
    if len(words) == 1:
        return latency(words[0], on=on, out=out, progress=progress, **options)
    if len(words) > 2 or on != "host":
        raise LowzooError(f"{len(words)} models cannot be compared on {on}", "Give two, with --on host")
    taken = inspect.signature(compare).parameters
    for name, parameter in inspect.signature(latency).parameters.items():
        if name in options and name not in taken and options[name] != parameter.default:
            option = f"--{name.replace('_', '-')}"
            raise LowzooError(f"{option} is not for a comparison on the host", f"Leave out {option}")
    fitting = {name: value for name, value in options.items() if name in taken}
    return compare(*words, out=out, progress=progress, **fitting)


def _no_report_as_json(given: Mapping[str, Any], as_json: bool) -> None:
    if as_json and given["models"] and given["models"][0] == REPORT:
        raise LowzooError("a report is written as .html, .png or .toml, not as JSON", "Leave out --json")


bench = command(
    _bench,
    lambda found: found.lines(),
    like=latency,
    check=_no_report_as_json,
    follow=on_stderr,
    status=lambda found: _INTERRUPTED if getattr(found, "interrupted", False) else 0,
)
