"""What the devices have said so far, and the results that follow from it. Called by the server's threads."""

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lowzoo.base.errors import LowzooError
from lowzoo.bench.browser.messages import Failed, Finished, Gone, Hello, Measured, Message, Plan, Progress
from lowzoo.bench.results.assemble import now_utc
from lowzoo.bench.results.protocol import Protocol
from lowzoo.bench.results.schema import Parity

MAX_DEVICES = 32
VANISHED_S = 150.0


@dataclass
class Run:
    """One back end on one device.

    Args:
        plan: Which back end.
        repeats: What came in, in order.
        parity: Parity of its features with the reference; None before they came, or without one.
        failure: Why it does not run there.
    """

    plan: Plan
    repeats: list[Measured] = field(default_factory=list)
    parity: Parity | None = None
    failure: str | None = None


@dataclass
class DeviceState:
    """One page.

    Args:
        name: Random, given by us.
        number: In order of arrival, from 1.
        hello: What it said at the start.
        address: Where it connects from.
        started: UTC, ISO 8601.
        runs: One a back end that it planned.
        heard: Seconds of the clock when it last said something.
        now: Back end and repeat that it is at.
        end: Finished, gone, or None while it works.
        finished: Its last message.
    """

    name: str
    number: int
    hello: Hello
    address: str
    started: str
    runs: list[Run]
    heard: float
    now: tuple[int, int] | None = None
    end: str | None = None
    finished: Finished | None = None

    def state(self, clock: float) -> str:
        """`finished`, `gone`, `vanished` or `running`."""
        if self.end is not None:
            return self.end
        return "vanished" if clock - self.heard > VANISHED_S else "running"


class Collector:
    """Takes messages and keeps what they say.

    Args:
        protocol: That the pages were given.
        judge: Compares features (D) with a reference; None if there is none.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        protocol: Protocol,
        judge: Callable[[list[float]], Parity] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.protocol = protocol
        self._judge = judge
        self._clock = clock
        self._lock = threading.Lock()
        self._devices: dict[str, DeviceState] = {}

    def take(self, message: Message, address: str) -> dict[str, object]:
        """Keep what a message says.

        Returns:
            What the page is answered.

        Raises:
            LowzooError: It does not fit what came before.
        """
        with self._lock:
            if isinstance(message, Hello):
                return self._welcome(message, address)
            device = self._devices.get(message.device)
            if device is None or device.end is not None:
                raise LowzooError("no such device is being measured", "Open the link again")
            device.heard = self._clock()
            if isinstance(message, Gone):
                device.end = "gone"
            elif isinstance(message, Finished):
                device.end, device.finished = "finished", message
                verdicts = [run.parity.agrees for run in device.runs if run.parity is not None]
                return {"agrees": all(verdicts) if verdicts else None}
            else:
                self._about_run(device, message)
            return {}

    def devices(self) -> list[DeviceState]:
        """A picture of all devices, in order of arrival."""
        with self._lock:
            return [
                dataclasses.replace(
                    device, runs=[dataclasses.replace(run, repeats=[*run.repeats]) for run in device.runs]
                )
                for device in self._devices.values()
            ]

    def states(self) -> list[str]:
        """What each device is doing."""
        return [device.state(self._clock()) for device in self.devices()]

    def _welcome(self, hello: Hello, address: str) -> dict[str, object]:
        if len(self._devices) >= MAX_DEVICES:
            raise LowzooError(f"{MAX_DEVICES} devices have come already", "Start the command again")
        name = secrets.token_hex(4)
        runs = [Run(plan) for plan in hello.plan]
        number = len(self._devices) + 1
        self._devices[name] = DeviceState(name, number, hello, address, now_utc(), runs, self._clock())
        return {"device": name}

    def _about_run(self, device: DeviceState, message: Progress | Measured | Failed) -> None:
        if message.plan >= len(device.runs):
            raise LowzooError("no such back end was planned", "Reload the page")
        run = device.runs[message.plan]
        if isinstance(message, Failed):
            run.failure = message.reason
        elif isinstance(message, Progress):
            device.now = (message.plan, message.repeat)
        else:
            if message.repeat != len(run.repeats) or message.repeat >= self.protocol.repeats:
                raise LowzooError("a repeat came twice or too early", "Reload the page")
            if message.repeat == 0 and self._judge is not None:
                run.parity = self._judge(message.features)
            run.repeats.append(message.model_copy(update={"features": []}))
