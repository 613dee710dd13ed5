"""The android target through the real adb: its server on loopback, and a phone of software that runs what it gets."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.android import phone as phone_module
from lowzoo.bench.android.phone import condition, find_phone, pinning
from lowzoo.bench.android.target import bench_android, cooled
from lowzoo.bench.results.assemble import check_samples
from lowzoo.bench.results.protocol import STANDARD, Protocol, runs_for
from lowzoo.cli.main import main
from tests.bench.android.adb_device import AdbDevice
from tests.helpers.bench import SHORT

adbutils = pytest.importorskip("adbutils", reason="adbutils is not installed")
ADB = shutil.which("adb")
needs_adb = pytest.mark.skipif(ADB is None, reason="no adb on this machine")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The real adb server, on a port of its own, with keys of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"HOME": str(home), "ADB_MDNS": "0"}
    command = [ADB, "-P", str(port), "nodaemon", "server"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = adbutils.AdbClient("127.0.0.1", port)
    for _ in range(100):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield client
    process.terminate()
    process.wait()


@pytest.fixture
def plug(server, tmp_path):
    """Connects phones, and takes them away in the end."""
    devices = []

    def connect(**changes):
        device = AdbDevice(tmp_path / f"phone{len(devices)}", **changes)
        devices.append(device)
        server.connect(device.serial, timeout=10)
        wanted = "device" if device.authorised else "unauthorized"
        for _ in range(100):
            if {row.serial: row.state for row in server.list()}.get(device.serial) == wanted:
                return device
            time.sleep(0.05)
        raise AssertionError(f"{device.serial} is not {wanted}")

    yield connect
    for device in devices:
        server.disconnect(device.serial)
        device.close()


@pytest.fixture
def runner(tmp_path):
    source = Path(__file__).with_name("android_runner.py").read_text()
    file = tmp_path / "onnxruntime_perf_test"
    file.write_text(f"#!{sys.executable}\n{source}")
    return file


@needs_adb
def test_from_discovery_to_result(server, plug, runner, artifact):
    device = plug()
    found = find_phone(None, lambda: server)
    result = bench_android(artifact, found, runner, protocol=SHORT, threads=2, progress=False)
    check_samples(result)
    assert result.target == "android"
    assert len(result.repeats) == SHORT.repeats
    assert all(
        len(repeat.samples_ms) == len(result.repeats[0].samples_ms) >= SHORT.min_runs for repeat in result.repeats
    )
    assert result.load_ms > 0
    assert result.peak_memory_mb == 52.43
    assert (result.device.kind, result.device.name, result.device.soc) == ("phone", "Acme Phone 1", "Acme AC9000")
    assert (result.device.cores, result.device.governor, result.device.os) == (4, "schedutil", "Android 15")
    assert result.device.arch == "arm64-v8a"
    assert (result.before.battery_percent, result.before.temperature_c, result.before.thermal_status) == (87, 30, "0")
    assert result.before.charging
    assert result.engine.settings["pinned_to"] == "cores 2,3"
    assert (result.model.name, result.model.precision) == ("mean.tag", "fp32")
    assert any("taskset c " in command and "/runner -e cpu -x 2" in command for command in device.commands)
    assert list((device.root / "data/local/tmp").iterdir()) == [], "nothing is left on the phone"


@needs_adb
def test_phones_that_cannot_be_used(server, plug):
    with pytest.raises(LowzooError, match=r"no phone is connected\. Plug one in"):
        find_phone(None, lambda: server)
    first = plug(authorised=False)
    with pytest.raises(LowzooError, match=r"has not allowed this computer\. Unlock it"):
        find_phone(None, lambda: server)
    second = plug()
    with pytest.raises(LowzooError, match=r"2 phones are connected \(.*\)\. Name one with --serial"):
        find_phone(None, lambda: server)
    assert find_phone(second.serial, lambda: server).ask("getprop ro.product.model") == "Phone 1"
    with pytest.raises(LowzooError, match="no phone nowhere is connected"):
        find_phone("nowhere", lambda: server)
    assert first.commands == []


@needs_adb
def test_a_runner_for_another_processor(server, plug, artifact, tmp_path):
    device = plug()
    foreign = tmp_path / "runner"
    foreign.write_bytes(b"\x7fELF\x02\x01" + bytes(12) + (62).to_bytes(2, "little"))
    with pytest.raises(LowzooError, match="runner is for x86_64, the phone is arm64-v8a"):
        bench_android(artifact, find_phone(None, lambda: server), foreign, protocol=SHORT, progress=False)
    with pytest.raises(LowzooError, match="a phone needs onnxruntime_perf_test"):
        bench_android(artifact, find_phone(None, lambda: server), None, protocol=SHORT, progress=False)
    assert not any("mkdir" in command for command in device.commands), "nothing was pushed"


@needs_adb
def test_no_room(server, plug, runner, artifact):
    plug(free_kb=1)
    with pytest.raises(LowzooError, match=r"has 0 MB free in /data/local/tmp, 0 MB are needed\. Free some"):
        bench_android(artifact, find_phone(None, lambda: server), runner, protocol=SHORT, progress=False)


@needs_adb
def test_a_disk_that_fills_up_while_it_is_pushed(server, plug, runner, artifact):
    device = plug(capacity=100)
    with pytest.raises(LowzooError, match="does not do what adb asks"):
        bench_android(artifact, find_phone(None, lambda: server), runner, protocol=SHORT, progress=False)
    assert list((device.root / "data/local/tmp").iterdir()) == []


@needs_adb
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo cannot open libonnxruntime.so; exit 3", r"ended with status 3: cannot open libonnxruntime\.so"),
        ("kill -SEGV $$", "ended by signal 11"),
        ("echo hello; touch $(dirname $0)/samples.csv", "said nothing that can be read \\(hello\\)"),
    ],
)
def test_runners_that_fail(server, plug, artifact, tmp_path, script, said):
    device = plug()
    bad = tmp_path / "bad"
    bad.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(LowzooError, match=said):
        bench_android(artifact, find_phone(None, lambda: server), bad, protocol=SHORT, progress=False)
    assert list((device.root / "data/local/tmp").iterdir()) == []


@needs_adb
def test_a_phone_that_is_pulled_out(server, plug, runner, artifact):
    device = plug()
    found = find_phone(None, lambda: server)
    device.vanishes_on = "/runner"
    with pytest.raises(LowzooError, match=r"does not do what adb asks .*\. Plug it in again"):
        bench_android(artifact, found, runner, protocol=SHORT, progress=False)


@needs_adb
def test_cooling_down(server, plug, runner, artifact):
    device = plug()
    found = find_phone(None, lambda: server)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            device.battery(305)

    real = phone_module.Phone.push

    def warm_after_push(self, *arguments):
        real(self, *arguments)
        device.battery(450)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phone_module.Phone, "push", warm_after_push)
        result = bench_android(artifact, found, runner, protocol=SHORT, progress=False, sleep=sleep)
    assert len(waits) == 2
    assert not any("cooled" in warning for warning in result.warnings)
    assert result.after.temperature_c == 30.5


@needs_adb
def test_a_phone_that_stays_hot(server, plug, monkeypatch):
    monkeypatch.setattr("lowzoo.bench.android.target.COOL_S", 10.0)
    device = plug()
    found = find_phone(None, lambda: server)
    before = condition(found)
    device.battery(450)
    waits = []
    assert not cooled(found, before, waits.append)
    assert waits == [5.0, 5.0]
    device.battery(300, thermal=2)
    assert not cooled(found, before, lambda seconds: None), "throttled"


@needs_adb
def test_cores_of_one_kind_are_not_pinned(server, plug):
    device = plug()
    found = find_phone(None, lambda: server)
    assert pinning(found, 1) == ("taskset 8 ", "cores 3")
    device.tool("taskset", "exit 1")
    assert pinning(found, 1) == ("", "all cores (taskset is refused)")
    for core in range(4):
        device.write(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", "2000000\n")
    assert pinning(found, 1) == ("", "all cores")


@needs_adb
def test_the_command_line(server, plug, runner, artifact, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
    plug()
    words = ["bench", str(artifact), "--on", "android", "--quick", "--out", str(tmp_path / "phone.json")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runner", str(runner)])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "On: Acme Phone 1, Acme AC9000, 4 cores, Android 15 arm64-v8a" in text
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "a phone needs onnxruntime_perf_test" in capsys.readouterr().err


def test_runs_that_the_protocol_asks_for():
    assert runs_for(1.0, STANDARD) == (1000, 2000)
    assert runs_for(20.0, STANDARD) == (50, 200)
    assert runs_for(100.0, STANDARD) == (10, 100)
    assert runs_for(60_000.0, STANDARD) == (1, 1)
    assert runs_for(0.0, Protocol(0, 5, 0, 1, 1)) == (1, 5)
