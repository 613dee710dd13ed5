"""The server of the browser target, spoken to by an http client: what it serves, takes, refuses and makes of it."""

import base64
import hashlib
import http.client
import json
import socket
import time

import pytest

from lowzoo.base.errors import LowzooError
from lowzoo.bench.browser.session import BrowserBench, Place
from lowzoo.bench.results.assemble import check_samples
from lowzoo.bench.results.protocol import statistics
from lowzoo.serving import server as server_module
from lowzoo.serving.runtime import PINNED, from_cdn, from_folder
from lowzoo.serving.server import BURST, MAX_CONNECTIONS, lan_address
from tests.bench.browser.client import PHONE, PLAN, ask, features, ort_folder, post, repeat, welcome
from tests.helpers.bench import SHORT, described


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    return ort_folder(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def bench(tmp_path, dist):
    made = BrowserBench(described(tmp_path / "mean.onnx"), Place(ort_dist=dist), SHORT)
    with made.server:
        yield made


def test_what_is_served(bench):
    status, page, headers = ask(bench, "")
    assert status == 200
    assert b"page.js" in page
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("page.js", "worker.js", "style.css"):
        assert ask(bench, path)[0] == 200
    assert ask(bench, "model")[1] == bench.file.path.read_bytes()
    task = json.loads(ask(bench, "task")[1])
    assert task["protocol"]["repeats"] == SHORT.repeats
    assert task["runtime"]["version"] == "9.8.7"
    for file in task["runtime"]["wasm"]:
        content = ask(bench, file["url"])[1]
        digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
        assert file["integrity"] == f"sha384-{digest}"


@pytest.mark.parametrize(
    "path",
    [
        "model2",
        "mean.onnx",
        "ort/secret.txt",
        "ort/../secret.txt",
        "../../etc/passwd",
        "%2e%2e/page.js",
        "report",
        "index.html",
        "//",
    ],
)
def test_nothing_else_is(bench, path):
    assert ask(bench, path)[0] == 404


def test_another_token_host_or_origin(bench):
    for wrong in ("x", bench.server.token[:-1], bench.server.token + "x", bench.server.token.swapcase()):
        assert ask(bench, "", token=wrong)[0] == 404
        assert ask(bench, "report", "POST", "{}", token=wrong)[0] == 404
    assert ask(bench, "", host="evil.example")[0] == 404
    hello = {"type": "hello", "facts": PHONE, "plan": PLAN}
    assert ask(bench, "report", "POST", json.dumps(hello), headers={"Origin": "http://evil.example"})[0] == 404
    assert bench.collector.devices() == []


def test_a_device_from_hello_to_result(bench):
    device = welcome(bench)
    right = features(bench)
    for index, samples in enumerate(([3.5, 3.25], [4.0, 1 / 3])):
        post(bench, {"type": "progress", "device": device, "plan": 0, "repeat": index})
        assert post(bench, repeat(device, index, samples, features=right))[0] == 200
    assert post(bench, {"type": "failed", "device": device, "plan": 1, "reason": "no threads"})[0] == 200
    ended = post(bench, {"type": "finished", "device": device, "battery": {"percent": 79, "charging": False}})
    assert ended == (200, {"agrees": True})
    assert bench.wait(lambda devices: None)
    (result,) = bench.results()
    check_samples(result)
    assert result.statistics == statistics([3.5, 3.25, 4.0, 1 / 3])
    assert (result.target, result.unit, result.device.kind, result.device.name) == (
        "browser",
        "worker",
        "phone",
        "Pixel 8",
    )
    assert (result.device.os, result.device.cores, result.device.memory_mb) == ("Android 15.0.0", 9, 8000)
    assert (result.engine.provider, result.engine.threads, result.engine.version) == ("WASM", 1, "9.8.7")
    assert (result.before.battery_percent, result.after.battery_percent) == (80, 79)
    assert result.parity.reference == "onnxruntime on this computer"
    assert result.parity.agrees


def test_wrong_features_are_told(bench):
    device = welcome(bench)
    post(bench, repeat(device, 0, [3.5], features=[1.0, -2.0, 3.0]))
    ended = post(bench, {"type": "finished", "device": device, "battery": {"percent": None, "charging": None}})
    assert ended == (200, {"agrees": False})
    (result,) = bench.results()
    assert any("do not agree" in warning for warning in result.warnings)
    assert any("after 1 of 2 workers" in warning for warning in result.warnings)


def test_devices_are_kept_apart(bench):
    first, second = welcome(bench), welcome(bench)
    post(bench, repeat(first, 0, [1.0]))
    post(bench, repeat(second, 0, [2.0], plan=1, hidden=True, runs_per_sample=3))
    post(bench, {"type": "gone", "device": first})
    assert bench.collector.states() == ["gone", "running"]
    one, two = bench.results()
    assert (one.statistics.median_ms, two.statistics.median_ms) == (1.0, 2.0)
    assert any("the device has gone after 1 of 2 workers" in warning for warning in one.warnings)
    assert any("background" in warning for warning in two.warnings)
    assert any("mean of up to 3 runs" in warning for warning in two.warnings)
    assert post(bench, repeat(first, 1, [1.0]))[0] == 409, "who has gone says nothing any more"


def test_a_vanished_phone(bench):
    now = [0.0]
    bench.collector._clock = lambda: now[0]
    welcome(bench)
    assert bench.collector.states() == ["running"]
    now[0] = 1e4
    assert bench.collector.states() == ["vanished"]


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        json.dumps({"type": "hello"}),
        json.dumps({"type": "hello", "facts": PHONE | {"cores": -1}, "plan": PLAN}),
        json.dumps({"type": "hello", "facts": PHONE, "plan": [{"backend": "cuda", "threads": 1}]}),
        json.dumps({"type": "hello", "facts": PHONE | {"user_agent": "x" * 401}, "plan": PLAN}),
        json.dumps(repeat("x", 0, [-1.0])),
        json.dumps(repeat("x", 0, [0.0])),
        json.dumps(repeat("x", 0, [])),
        json.dumps(repeat("x", 0, [float("nan")])),
        json.dumps(repeat("x", 0, [float("inf")])),
    ],
)
def test_messages_that_make_no_sense(bench, message):
    status, body, _ = ask(bench, "report", "POST", message)
    assert status == 400
    assert b"not understood" in body
    assert bench.collector.devices() == []


def test_messages_out_of_order(bench):
    device = welcome(bench)
    for wrong in (repeat("other", 0, [1.0]), repeat(device, 1, [1.0]), repeat(device, 0, [1.0], plan=2)):
        assert post(bench, wrong)[0] == 409
    assert post(bench, repeat(device, 0, [1.0]))[0] == 200
    assert post(bench, repeat(device, 0, [1.0]))[0] == 409


def test_a_hundred_megabytes_are_refused_unread(bench):
    port = int(bench.server.url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = (
            f"POST /{bench.server.token}/report HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {10**8}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert ask(bench, "report", "POST", "{}", headers={"Content-Length": "ten"})[0] == 411
    assert ask(bench, "")[0] == 200, "the server goes on"


def test_too_many_posts_and_connections(bench, monkeypatch):
    monkeypatch.setattr(server_module, "PER_SECOND", 0.0)
    statuses = [post(bench, {"type": "gone", "device": "x"})[0] for _ in range(int(BURST) + 3)]
    assert statuses == [409] * int(BURST) + [429] * 3
    end = time.monotonic() + 10
    taken = 0
    while taken < MAX_CONNECTIONS:
        taken += bench.server.slots.take("another")
        assert time.monotonic() < end, "a connection has ended without giving its slot back"
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(bench, "")
    bench.server.slots.give_back("another")
    assert ask(bench, "")[0] == 200


def test_a_client_that_never_ends_its_request(bench, monkeypatch):
    monkeypatch.setattr(server_module._Handler, "timeout", 0.2)
    port = int(bench.server.url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert connection.recv(100) == b"", "the server hangs up"


def test_a_phone_on_a_slow_network_gets_the_whole_model(bench, monkeypatch):
    """The silence that is borne is that between two parts, not the time of the whole."""
    monkeypatch.setattr(server_module._Handler, "timeout", 0.4)
    whole = bytes(24_000_000)
    bench.server.contents["model"] = server_module.Content("application/octet-stream", whole)
    port = int(bench.server.url.rsplit(":", 1)[1].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"GET /{bench.server.token}/model HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        found = 0
        while part := connection.recv(1 << 20):
            found += len(part)
            time.sleep(0.03)
    assert found > len(whole), "head and body"


def test_it_ends_when_the_time_is_over(tmp_path, dist):
    bench = BrowserBench(described(tmp_path / "mean.onnx"), Place(ort_dist=dist, minutes=0.002), SHORT)
    with bench.server:
        assert not bench.wait(lambda devices: None)
    with pytest.raises(OSError, match="refused"):
        ask(bench, "")


def test_the_pinned_copy():
    runtime = from_cdn()
    for files in runtime.backends.values():
        for file in files:
            assert file.url.startswith(f"{runtime.origin}/npm/onnxruntime-web@{runtime.version}/dist/")
            assert file.integrity == PINNED[file.name]
            assert len(base64.b64decode(file.integrity.removeprefix("sha384-"))) == 48
            assert runtime.local(file.name) is None


def test_folders_without_it(tmp_path, dist):
    assert from_folder(dist / "dist").backends["webgpu"] == ()
    assert from_folder(dist.parent.parent).version == "9.8.7"
    with pytest.raises(LowzooError, match="holds no onnxruntime-web"):
        from_folder(tmp_path)


@pytest.mark.parametrize("wrong", [{"port": 70000}, {"devices": 0}, {"minutes": 0.0}])
def test_places_that_cannot_be(wrong):
    with pytest.raises(LowzooError):
        Place(**wrong)


def test_a_port_that_is_taken_and_a_certificate_that_is_none(tmp_path, dist, bench):
    file = described(tmp_path / "mean.onnx")
    port = int(bench.server.url.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(LowzooError, match="cannot listen on"):
        BrowserBench(file, Place(ort_dist=dist, port=port), SHORT)
    with pytest.raises(LowzooError, match="holds no certificate"):
        BrowserBench(file, Place(ort_dist=dist, certificate=file), SHORT)


def test_a_computer_without_a_network(monkeypatch):
    class Unreachable(socket.socket):
        def connect(self, address):
            raise OSError("Network is unreachable")

    monkeypatch.setattr("lowzoo.serving.server.socket.socket", Unreachable)
    with pytest.raises(LowzooError, match="in no network"):
        lan_address()
