"""A phone behind adb: finding it, asking it what it is and how it fares, and running things on it."""

import contextlib
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lowzoo.base.errors import LowzooError, reason_of
from lowzoo.bench.results.schema import Condition, Device

FOLDER = "/data/local/tmp"
# What `uname -m` and ro.product.cpu.abi call the machine that an ELF file is for.
ELF_MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a"}
_STATES = {
    "unauthorized": ("has not allowed this computer", "Unlock it and confirm `Allow USB debugging`"),
    "offline": ("is offline", "Plug it in again, or run `adb reconnect`"),
    "authorizing": ("is being asked for permission", "Unlock it and confirm `Allow USB debugging`"),
    "no permissions": ("may not be opened by this user", "Add a udev rule for it, then run `adb kill-server`"),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command on the phone ended: its status, and stdout with stderr."""

    status: int
    output: str


@dataclass(frozen=True)
class Phone:
    """A phone that answers.

    Args:
        serial: Serial number of the phone.
        adb: What adbutils calls the device.
    """

    serial: str
    adb: Any

    def shell(self, command: str, timeout_s: float = 30.0) -> Ended:
        """Run a command.

        Raises:
            LowzooError: The phone does not answer any more.
        """
        with self._there():
            found = self.adb.shell2(command, timeout=timeout_s)
        return Ended(found.returncode, found.output)

    def ask(self, command: str) -> str | None:
        """What a command prints; None if it fails or prints nothing."""
        ended = self.shell(f"{command} 2>/dev/null")
        return (ended.output.strip() or None) if ended.status == 0 else None

    def push(self, source: Path, target: str, mode: int = 0o644) -> None:
        """Copy a file to the phone.

        Raises:
            LowzooError: There is no room, or it does not answer any more.
        """
        try:
            with self._there():
                self.adb.sync.push(source, target, mode=mode, check=True)
        except LowzooError as error:
            free = self.free_bytes()
            if free is not None and free < source.stat().st_size:
                raise LowzooError(f"{self.serial} has no room for {source.name}", "Free some of its storage") from error
            raise

    def read(self, path: str) -> str:
        """Content of a text file on the phone."""
        with self._there():
            content: bytes = self.adb.sync.read_bytes(path)
        return content.decode("utf-8", errors="replace")

    def free_bytes(self) -> int | None:
        """Room where files are pushed to."""
        lines = (self.ask(f"df -k {FOLDER}") or "").splitlines()
        columns = lines[-1].split() if len(lines) > 1 else []
        numbers = [int(column) for column in columns if column.isdecimal()]
        return numbers[2] * 1024 if len(numbers) >= 3 else None

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A folder of its own on the phone, which is gone afterwards whatever happens."""
        name = f"{FOLDER}/lowzoo-{secrets.token_hex(4)}"
        ended = self.shell(f"mkdir -p {name}")
        if ended.status != 0:
            raise LowzooError(f"{self.serial} cannot make {name} ({ended.output.strip()})", "Free some of its storage")
        try:
            yield name
        finally:
            with contextlib.suppress(LowzooError):  # a phone that has gone cannot be cleaned
                self.shell(f"rm -rf {name}")

    @contextlib.contextmanager
    def _there(self) -> Iterator[None]:
        from adbutils import AdbError

        try:
            yield
        except (AdbError, OSError, EOFError) as error:
            reason = reason_of(error)
            raise LowzooError(f"{self.serial} does not do what adb asks ({reason})", "Plug it in again") from error


def find_phone(serial: str | None, connect: Callable[[], Any] | None = None) -> Phone:
    """The one phone that is connected, or the one of a serial number.

    Args:
        serial: Which; needed when there are several.
        connect: Gives adbutils' client; the usual server by default.

    Raises:
        LowzooError: No adb, no phone, several of them, or one that must be unlocked first.
    """
    if find_spec("adbutils") is None:
        raise LowzooError("adbutils is not installed", "Run `pip install lowzoo[android]`")
    from adbutils import AdbClient, AdbError

    try:
        client = connect() if connect else _usual_server(AdbClient)
        rows = {row.serial: row.state for row in client.list()}
    except (AdbError, OSError) as error:
        raise LowzooError(f"adb does not run ({error})", "Install Android's platform-tools") from error
    if not rows:
        raise LowzooError("no phone is connected", "Plug one in and switch on USB debugging (`adb devices` lists it)")
    if serial is None and len(rows) > 1:
        raise LowzooError(f"{len(rows)} phones are connected ({', '.join(rows)})", "Name one with --serial")
    chosen = serial or next(iter(rows))
    if chosen not in rows:
        raise LowzooError(f"no phone {chosen} is connected ({', '.join(rows)} are)", "See `adb devices`")
    if rows[chosen] != "device":
        wrong, remedy = _STATES.get(rows[chosen], (f"is in state {rows[chosen]!r}", "See `adb devices`"))
        raise LowzooError(f"{chosen} {wrong}", remedy)
    return Phone(chosen, client.device(serial=chosen))


def _usual_server(client: Callable[[], Any]) -> Any:
    # adbutils starts a server as well, but lets it talk on stdout, where a JSON document may be due.
    from adbutils import adb_path

    subprocess.run([adb_path(), "start-server"], capture_output=True, check=False, timeout=30)
    return client()


_PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.board.platform",
    "ro.build.version.release",
    "ro.product.cpu.abi",
)


def describe(phone: Phone) -> Device:
    """What the phone is."""
    told = phone.ask(f'for name in {" ".join(_PROPERTIES)}; do echo "$name=$(getprop $name)"; done') or ""
    props = {name: value.strip() for name, _, value in (line.partition("=") for line in told.splitlines())}
    maker, model, soc_maker, soc, board, release, abi = (props.get(name, "") for name in _PROPERTIES)
    memory = re.search(r"MemTotal:\s+(\d+) kB", phone.ask("cat /proc/meminfo") or "")
    flags = re.search(r"^Features\s*:\s*(.*)$", phone.ask("cat /proc/cpuinfo") or "", re.M)
    features = set(flags[1].split()) if flags else set()
    return Device(
        kind="phone",
        name=f"{maker} {model}".strip() or None,
        cpu=None,
        soc=f"{soc_maker} {soc}".strip() or board or None,
        cores=len(core_speeds(phone)) or None,
        memory_mb=round(int(memory[1]) * 1024 / 1e6) if memory else None,
        isa=tuple(flag for flag in ("asimd", "asimddp", "i8mm", "sve", "sme") if flag in features),
        governor=phone.ask("cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        os=f"Android {release or 'unknown'}",
        arch=abi or None,
    )


def condition(phone: Phone) -> Condition:
    """How the phone fares."""
    battery = phone.ask("dumpsys battery") or ""
    level = re.search(r"^\s*level: (\d+)", battery, re.M)
    degrees = re.search(r"^\s*temperature: (\d+)", battery, re.M)
    powered = re.findall(r"^\s*(?:AC|USB|Wireless|Dock) powered: (\w+)", battery, re.M)
    thermal = re.search(r"Thermal Status: (\d+)", phone.ask("dumpsys thermalservice") or "")
    load = (phone.ask("cat /proc/loadavg") or "").split()
    return Condition(
        load_average=float(load[0]) if load else None,
        temperature_c=int(degrees[1]) / 10 if degrees else None,
        thermal_status=thermal[1] if thermal else None,
        battery_percent=float(level[1]) if level else None,
        charging="true" in powered if powered else None,
    )


def core_speeds(phone: Phone) -> dict[int, int]:
    """Highest clock in kHz of each core; 0 where the phone does not tell."""
    place = "/sys/devices/system/cpu/cpu[0-9]*"
    listed = phone.ask(f"for core in {place}; do echo $core $(cat $core/cpufreq/cpuinfo_max_freq); done") or ""
    return {int(core): int(speed or 0) for core, speed in re.findall(r"cpu(\d+)(?: (\d+))?\s*$", listed, re.M)}


def pinning(phone: Phone, threads: int) -> tuple[str, str]:
    """What stands before a command to keep it to the fastest cores, empty where the phone cannot, and that in words.

    Args:
        phone: Whose cores.
        threads: As many cores are taken.
    """
    speeds = core_speeds(phone)
    if len(set(speeds.values())) < 2:
        return "", "all cores"
    fastest = sorted(speeds, key=lambda core: -speeds[core])[:threads]
    mask = f"{sum(1 << core for core in fastest):x}"
    if phone.shell(f"taskset {mask} true").status != 0:
        return "", "all cores (taskset is refused)"
    return f"taskset {mask} ", f"cores {','.join(map(str, sorted(fastest)))}"


def check_abi(runner: Path, phone: Phone, abi: str | None) -> None:
    """Refuse a program that is for another kind of CPU.

    Raises:
        LowzooError: It is.
    """
    with runner.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF" or abi is None:
        return
    wanted = ELF_MACHINES.get(int.from_bytes(head[18:20], "little" if head[5] == 1 else "big"), "another CPU")
    known = (phone.ask("getprop ro.product.cpu.abilist") or abi).split(",")
    if wanted not in known:
        raise LowzooError(
            f"{runner} is for {wanted}, the phone is {abi}", f"Build the runner for {abi} (see `lowzoo bench --help`)"
        )
