"""One run of the browser target, from an ONNX file to a server that is ready and the results it has gathered."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base.errors import LowzooError
from lowzoo.bench.browser.collector import Collector, DeviceState
from lowzoo.bench.browser.messages import MESSAGE
from lowzoo.bench.browser.parity import judge_for
from lowzoo.bench.browser.results import results_of
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import BenchResult, ModelInput
from lowzoo.bench.subjects.artifact import OnnxFile, open_onnx, real_input
from lowzoo.export.spec.large import refuse_two_files
from lowzoo.serving.place import Serving
from lowzoo.serving.runtime import Runtime, from_cdn, from_folder
from lowzoo.serving.server import LOCAL, Content, PageServer, contents_of, lan_address, page_of

POLL_S = 0.2


@dataclass(frozen=True)
class Place(Serving):
    """Where the page is served, for how long and for how many.

    Args:
        devices: End when so many are through.

    Raises:
        LowzooError: A number that makes no sense.
    """

    devices: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.devices <= 32:
            raise LowzooError(f"{self.devices} devices are impossible", "Use --devices 1 to 32")


class BrowserBench:
    """A file that is served for timing.

    Args:
        artifact: The ONNX file.
        place: Where and how long.
        protocol: That the pages follow.

    Raises:
        LowzooError: The file cannot be used, onnxruntime-web is not there, or the port is taken.
    """

    def __init__(self, artifact: Path, place: Place, protocol: Protocol) -> None:
        self.place = place
        self.protocol = protocol
        refuse_two_files(artifact, "a browser")
        self.file = open_onnx(artifact)
        self.runtime: Runtime = from_folder(place.ort_dist) if place.ort_dist else from_cdn()
        pixels, photo = real_input(self.file)
        self.model = self.file.facts()
        self.input: ModelInput = self.file.input_facts(f"photograph {photo}")
        self.collector = Collector(protocol, judge_for(self.file, pixels))
        self.server = PageServer(
            lambda body, address: self.collector.take(MESSAGE.validate_json(body), address),
            _contents(self.file, pixels.tobytes(), self.input, self.runtime, protocol),
            host=lan_address() if place.lan else LOCAL,
            port=place.port,
            origin=self.runtime.origin,
            certificate=place.certificate,
        )

    def wait(self, show: Callable[[Sequence[DeviceState]], None]) -> bool:
        """Serve until enough devices are through or the time is over.

        Args:
            show: Called a few times a second with what the devices do.

        Returns:
            Whether enough devices came through.
        """
        end = time.monotonic() + 60 * self.place.minutes
        while time.monotonic() < end:
            show(self.collector.devices())
            if self.collector.states().count("finished") >= self.place.devices:
                return True
            time.sleep(POLL_S)
        return False

    def results(self) -> list[BenchResult]:
        """Everything that has come in, by device in order of arrival."""
        found: list[BenchResult] = []
        for device, state in zip(self.collector.devices(), self.collector.states(), strict=True):
            found += results_of(device, state, self.model, self.input, self.protocol, self.runtime)
        return found


def _contents(
    file: OnnxFile, pixels: bytes, given: ModelInput, runtime: Runtime, protocol: Protocol
) -> dict[str, Content]:
    model = file.facts()
    task = {
        "model": {"name": model.name or model.file, "size_bytes": model.size_bytes, "precision": model.precision},
        "input": {"type": given.type, "shape": given.shape},
        "protocol": {
            "warmup_s": protocol.warmup_s,
            "min_runs": protocol.min_runs,
            "min_s": protocol.min_s,
            "max_s": protocol.max_s,
            "repeats": protocol.repeats,
        },
        "runtime": runtime.as_task(),
    }
    return {
        **page_of("lowzoo.bench.browser"),
        **contents_of(runtime),
        "task": Content("application/json", json.dumps(task).encode()),
        "model": Content("application/octet-stream", file.path.read_bytes()),
        "input": Content("application/octet-stream", pixels),
    }
