"""The device's side of the adb protocol, on loopback, for the real `adb`: what is pushed is written, what is run runs.

Commands go to this machine's shell with Android's own tools (getprop, dumpsys, df, taskset) in front of the path, and
the phone's folders mapped below one of ours. Messages are 24 bytes and data: command, two numbers, length, sum, magic.
"""

import contextlib
import os
import queue
import socket
import stat
import struct
import subprocess
import threading
from pathlib import Path

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(word, "little") for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
MAX_DATA = 4096
RSA_PUBLIC_KEY = 3
PROPERTIES = {
    "ro.product.manufacturer": "Acme",
    "ro.product.model": "Phone 1",
    "ro.soc.manufacturer": "Acme",
    "ro.soc.model": "AC9000",
    "ro.build.version.release": "15",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a",
}
SPEEDS = {0: 1800000, 1: 1800000, 2: 2400000, 3: 3000000}


class AdbDevice:
    """A phone made of software.

    Args:
        root: Empty folder that holds its files.
        authorised: Whether it has allowed this computer.
        free_kb: Room that `df` tells of.
        capacity: Bytes after which a push fails; None for no end.
        vanishes_on: Hangs up when a command holds this; empty for never.
    """

    def __init__(
        self, root: Path, *, authorised: bool = True, free_kb: int = 10**6, capacity: int | None = None
    ) -> None:
        self.root = root
        self.authorised = authorised
        self.capacity = capacity
        self.vanishes_on = ""
        self.commands: list[str] = []
        self._tools(free_kb)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def mapped(self, text: str) -> str:
        """A command or path of the phone as one of this machine."""
        for place in ("/data/local/tmp", "/sys/devices/system/cpu"):
            text = text.replace(place, f"{self.root}{place}")
        return text

    def write(self, path: str, text: str) -> None:
        """Put a file on the phone."""
        file = Path(self.mapped(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def tool(self, name: str, script: str) -> None:
        """Put a program in front of the path."""
        file = self.root / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def battery(self, tenths: int, thermal: int = 0) -> None:
        """Set temperature in tenths of a degree and the thermal status."""
        lines = f"  USB powered: true\n  level: 87\n  temperature: {tenths}\n"
        self.tool("dumpsys", f"case $1 in battery) printf '{lines}';; *) echo 'Thermal Status: {thermal}';; esac")

    def _tools(self, free_kb: int) -> None:
        (self.root / "data/local/tmp").mkdir(parents=True)
        cases = "".join(f"{name}) echo '{value}';;\n" for name, value in PROPERTIES.items())
        self.tool("getprop", f"case $1 in\n{cases}esac")
        self.tool(
            "df", f"echo 'Filesystem 1K-blocks Used Available Use% Mounted'; echo '/dev/dm-5 9 1 {free_kb} 1% /data'"
        )
        self.tool("taskset", 'shift\nexec "$@"')
        self.battery(300)
        for core, speed in SPEEDS.items():
            self.write(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", f"{speed}\n")
        self.write("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n")

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=_Link(self, connection).serve, daemon=True).start()

    def run(self, command: str) -> bytes:
        self.commands.append(command)
        environment = os.environ | {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}
        ended = subprocess.run(
            ["sh", "-c", self.mapped(command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
        return ended.stdout


class _Link:
    """One connection of the adb server."""

    def __init__(self, device: AdbDevice, connection: socket.socket) -> None:
        self.device = device
        self.connection = connection
        self.streams: dict[int, _Stream] = {}
        self._lock = threading.Lock()

    def send(self, command: int, one: int, two: int, data: bytes = b"") -> None:
        head = struct.pack("<6I", command, one, two, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self._lock:
            self.connection.sendall(head + data)

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            while True:
                command, one, two, length, _, _ = struct.unpack("<6I", self._exactly(24))
                self._take(command, one, two, self._exactly(length))
        for stream in self.streams.values():
            stream.incoming.put(None)
        self.connection.close()

    def _take(self, command: int, one: int, two: int, data: bytes) -> None:
        if command in (CNXN, AUTH) and not self.device.authorised:
            if command == CNXN or one != RSA_PUBLIC_KEY:
                self.send(AUTH, 1, 0, b"t" * 20)  # a token to sign; no signature will do, and of a key nothing is said
        elif command == CNXN:
            self.send(CNXN, 0x01000000, MAX_DATA, b"device::ro.product.name=stub;ro.product.model=Stub;features=cmd\0")
        elif command == OPEN:
            stream = _Stream(self, one, len(self.streams) + 1)
            self.streams[stream.own] = stream
            threading.Thread(target=stream.serve, args=(data.rstrip(b"\0").decode(),), daemon=True).start()
        elif command == OKAY and two in self.streams:
            self.streams[two].acknowledged.set()
        elif command == WRTE and two in self.streams:
            self.streams[two].incoming.put(data)
            self.send(OKAY, two, one)
        elif command == CLSE and two in self.streams:
            self.streams[two].incoming.put(None)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self.connection.recv(length - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data


class _Stream:
    """One service that was opened over a link."""

    def __init__(self, link: _Link, remote: int, own: int) -> None:
        self.link = link
        self.remote = remote
        self.own = own
        self.incoming: queue.Queue[bytes | None] = queue.Queue()
        self.acknowledged = threading.Event()
        self._left = b""

    def serve(self, service: str) -> None:
        device = self.link.device
        with contextlib.suppress(OSError, EOFError):
            self.link.send(OKAY, self.own, self.remote)
            if service.startswith("shell:"):
                command = service.removeprefix("shell:")
                if device.vanishes_on and device.vanishes_on in command:
                    device.close()
                    self.link.hang_up()
                    return
                self.write(device.run(command))
            elif service.startswith("sync:"):
                self._sync()
            self.link.send(CLSE, self.own, self.remote)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), MAX_DATA):
            self.acknowledged.clear()
            self.link.send(WRTE, self.own, self.remote, data[start : start + MAX_DATA])
            self.acknowledged.wait(10)

    def read(self, length: int) -> bytes:
        while len(self._left) < length:
            more = self.incoming.get(timeout=30)
            if more is None:
                raise EOFError
            self._left += more
        data, self._left = self._left[:length], self._left[length:]
        return data

    def _sync(self) -> None:
        while True:
            word, length = struct.unpack("<4sI", self.read(8))
            name = self.read(length).decode()
            if word == b"STAT":
                file = Path(self.link.device.mapped(name))
                found = file.stat() if file.exists() else None
                facts = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
                self.write(b"STAT" + struct.pack("<3I", *facts))
            elif word == b"SEND":
                self._receive(*name.rsplit(",", 1))
            elif word == b"RECV":
                content = Path(self.link.device.mapped(name)).read_bytes()
                chunks = (content[start : start + 4000] for start in range(0, len(content), 4000))
                self.write(b"".join(b"DATA" + struct.pack("<I", len(chunk)) + chunk for chunk in chunks))
                self.write(b"DONE" + struct.pack("<I", 0))
            else:
                return

    def _receive(self, path: str, mode: str) -> None:
        content = b""
        while True:
            word, length = struct.unpack("<4sI", self.read(8))
            if word == b"DONE":
                break
            content += self.read(length)
        if self.link.device.capacity is not None and len(content) > self.link.device.capacity:
            reason = b"No space left on device"
            self.write(b"FAIL" + struct.pack("<I", len(reason)) + reason)
            return
        file = Path(self.link.device.mapped(path))
        file.write_bytes(content)
        file.chmod(stat.S_IMODE(int(mode)))
        self.write(b"OKAY" + struct.pack("<I", 0))
