"""What the browser target says while it waits: a link and a QR code, then what the devices do, live."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from lowzoo.base.errors import LowzooError
from lowzoo.base.progress import Say, in_minutes
from lowzoo.bench.browser.session import BrowserBench, Place
from lowzoo.bench.results.lines import HEADER, device_words, figures, model_words
from lowzoo.serving.invitation import invite
from lowzoo.serving.server import LOCAL, lan_address, require_door

if TYPE_CHECKING:
    from rich.table import Table

    from lowzoo.bench.browser.collector import DeviceState, Run
    from lowzoo.bench.results.schema import BenchResult
    from lowzoo.bench.targets import Request


@contextlib.contextmanager
def _shown(repeats: int, say: Say) -> "Iterator[Callable[[Sequence[DeviceState]], None]]":
    """A table on the command line's terminal, else lines."""
    if getattr(say, "bars", False):
        with LiveView(repeats) as show:
            yield show
        return
    said = set[str]()

    def show_lines(devices: "Sequence[DeviceState]") -> None:
        for line in _events(devices, repeats):
            if line not in said:
                said.add(line)
                say(line)

    yield show_lines


def run(request: "Request") -> "list[BenchResult]":
    """Serve the page until enough devices are through, the time is over, or Ctrl-C; keep what came in.

    Raises:
        LowzooError: Nothing came in.
        KeyboardInterrupt: The same, by Ctrl-C.
    """
    own = request.options
    place = Place(own["lan"], own["port"], own["ort_dist"], own["certificate"], own["minutes"], own["devices"])
    require_door(lan_address() if place.lan else LOCAL, place.port, place.certificate)  # before anything is exported
    interrupted = False
    with request.artifact(".onnx") as artifact:
        bench = BrowserBench(artifact, place, request.protocol)
        with bench.server:
            _invite(bench, request.say)
            try:
                with _shown(bench.protocol.repeats, request.say) as show:
                    bench.wait(show)
            except KeyboardInterrupt:
                interrupted = True
        results = bench.results()
    if interrupted:
        request.interrupted()
    if not results and interrupted:
        raise KeyboardInterrupt
    if not results:
        _nothing(bench.collector.devices(), place.minutes)
    return results


def _nothing(devices: "Sequence[DeviceState]", minutes: float) -> None:
    reasons = {run.failure for device in devices for run in device.runs if run.failure}
    if reasons:
        raise LowzooError(f"no back end ran on any device ({'; '.join(sorted(reasons))})", "Try another browser")
    raise LowzooError(f"no device has answered within {in_minutes(minutes)}", "Open the link, or name --minutes")


def _invite(bench: BrowserBench, say: Say) -> None:
    say(f"Model: {model_words(bench.model)}; onnxruntime-web {bench.runtime.version} from {bench.runtime.source}")
    invite(
        bench.server.url,
        say,
        lan=bench.place.lan,
        secure=bench.place.certificate is not None,
        insecurely="Over plain http browsers allow one thread and no WebGPU; --certificate serves https.",
    )
    many = f"{bench.place.devices} devices are" if bench.place.devices > 1 else "one device is"
    say(f"Ends when {many} through, after {in_minutes(bench.place.minutes)}, or by Ctrl-C.")


class LiveView:
    """A table that follows the devices; into a file, a line for each thing that happens."""

    def __init__(self, repeats: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._repeats = repeats
        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._said: set[str] = set()

    def __enter__(self) -> "Callable[[Sequence[DeviceState]], None]":
        if self._live is not None:
            self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _show(self, devices: "Sequence[DeviceState]") -> None:
        if self._live is not None:
            self._live.update(device_table(devices, self._repeats))
            return
        for line in _events(devices, self._repeats):
            if line not in self._said:
                self._said.add(line)
                print(line, file=sys.stderr, flush=True)


def _events(devices: "Sequence[DeviceState]", repeats: int) -> Iterator[str]:
    clock = time.monotonic()
    for device in devices:
        yield f"device {device.number}: {_name(device)} has come"
        for run in device.runs:
            for index in range(len(run.repeats)):
                yield f"device {device.number}: {_title(run)}, worker {index + 1} of {repeats}: {_median(run, index)}"
            if run.failure:
                yield f"device {device.number}: {_title(run)} failed: {run.failure}"
        if device.state(clock) != "running":
            yield f"device {device.number}: {device.state(clock)}"


def device_table(devices: "Sequence[DeviceState]", repeats: int) -> "Table":
    """What each device does and has found, a row a back end."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("device", "back end", "workers", "median", "state"):
        table.add_column(column, justify="right" if column in ("workers", "median") else "left")
    clock = time.monotonic()
    for device in devices:
        for place, run in enumerate(device.runs):
            state = device.state(clock)
            if run.failure:
                state = f"failed: {run.failure[:60]}"
            elif len(run.repeats) == repeats:
                state = "done" if run.parity is None or run.parity.agrees else "done, but the features differ"
            elif state == "running":
                state = "running" if device.now and device.now[0] == place else "waiting"
            median = _median(run, None) if run.repeats else ""
            name = f"{device.number} {_name(device)}" if place == 0 else ""
            # As text, not as a string: brackets in what a device says of itself are no markup.
            table.add_row(Text(name), _title(run), f"{len(run.repeats)}/{repeats}", median, Text(state))
    if not devices:
        table.add_row("waiting for a device", "", "", "", "")
    return table


def _median(run: "Run", index: int | None) -> str:
    from lowzoo.bench.results.protocol import statistics

    samples = (
        run.repeats[index].samples_ms if index is not None else [ms for row in run.repeats for ms in row.samples_ms]
    )
    return f"{statistics(samples).median_ms:.3f} ms"


def _title(run: "Run") -> str:
    threads = f"{run.plan.threads} thread{'s' * (run.plan.threads > 1)}"
    return "WebGPU" if run.plan.backend == "webgpu" else f"WASM, {threads}"


def _name(device: "DeviceState") -> str:
    from lowzoo.bench.browser.results import device_title

    return device_title(device.hello.facts)


def lines(results: "Sequence[BenchResult]") -> Iterator[str]:
    """Results of one model on several back ends and devices."""
    first = results[0]
    yield f"Model: {model_words(first.model)}"
    yield f"Protocol: batch {first.input.shape[0]}, {first.protocol.in_words(first.unit)}"
    for result in results:
        engine = result.engine
        yield ""
        yield f"On: {device_words(result.device)}, {engine.settings['browser']}"
        threads = f"{engine.threads} thread{'s' * (engine.threads > 1)}"
        yield f"By: {engine.name} {engine.version}, {engine.provider}, {threads}"
        yield HEADER
        yield figures(result)
        yield f"Load {result.load_ms:.0f} ms, first run {result.first_run_ms:.1f} ms"
        if result.parity is not None and result.parity.agrees:
            error = (
                f", largest error {result.parity.relative_error:.1e}"
                if result.parity.relative_error is not None
                else ""
            )
            yield f"Features agree with {result.parity.reference}: cosine {result.parity.cosine:.7f}{error}"
        for warning in result.warnings:
            yield f"Note: {warning}"
