"""`lowzoo bench --on browser`: what the terminal shows, what is kept, and how it ends."""

import io
import json
import socket

import pytest
from rich.console import Console

from lowzoo.bench.browser.live import LiveView, device_table
from lowzoo.bench.browser.session import BrowserBench, Place
from lowzoo.bench.results.assemble import read_results
from tests.bench.browser.client import PHONE, PLAN, features, ort_folder, post, repeat, welcome
from tests.helpers.bench import SHORT, described
from tests.helpers.cli import runner


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("lowzoo.bench.results.protocol.STANDARD", SHORT)


@pytest.fixture
def words(tmp_path):
    artifact = described(tmp_path / "mean.onnx")
    return ["bench", artifact, "--on", "browser", "--ort-dist", ort_folder(tmp_path), "--out", tmp_path / "phone.json"]


run = runner()


def with_phone(monkeypatch, then):
    """A phone answers as soon as the page is served; then something happens."""
    served = BrowserBench.wait

    def wait(self, show):
        device = welcome(self)
        for index in range(SHORT.repeats):
            post(self, repeat(device, index, [3.5, 4.5], features=features(self)))
            show(self.collector.devices())
        then(self, device)
        return served(self, show)

    monkeypatch.setattr(BrowserBench, "wait", wait)


def test_a_phone_comes_through(capsys, monkeypatch, words, tmp_path):
    def finish(bench, device):
        post(bench, {"type": "failed", "device": device, "plan": 1, "reason": "no shared memory"})
        post(bench, {"type": "finished", "device": device, "battery": {"percent": None, "charging": None}})

    with_phone(monkeypatch, finish)
    code, text, error = run(capsys, *words)
    assert code == 0
    assert "http://127.0.0.1:" in error
    assert "device 1: WASM, 1 thread, worker 1 of 2: 4.000 ms" in error
    assert "device 1: WASM, 4 threads failed: no shared memory" in error
    assert error.endswith("device 1: finished\n")
    assert "On: Pixel 8, 9 cores, Android 15.0.0 arm, Google Chrome 140.0.1.2" in text
    assert "Features agree with onnxruntime on this computer: cosine 1.0000000" in text
    (result,) = read_results(tmp_path / "phone.json")
    assert result.statistics.median_ms == 4.0


def test_an_interrupted_run_keeps_what_came_in(capsys, monkeypatch, words, tmp_path):
    def interrupt(bench, device):
        raise KeyboardInterrupt

    with_phone(monkeypatch, interrupt)
    code, text, error = run(capsys, *words, "--json")
    assert code == 130
    assert error.endswith("lowzoo: interrupted\n")
    assert json.loads(text)["target"] == "browser"
    assert read_results(tmp_path / "phone.json")[0].statistics.n == 4


def test_nobody_comes(capsys, words, tmp_path):
    code, text, error = run(capsys, *words, "--minutes", "0.002")
    assert (code, text) == (2, "")
    assert "no device has answered within 0.002 minutes" in error
    assert not (tmp_path / "phone.json").exists()


def test_a_device_that_can_run_nothing(capsys, monkeypatch, words, tmp_path):
    def wait(self, show):
        device = welcome(self)
        for plan in (0, 1):
            post(self, {"type": "failed", "device": device, "plan": plan, "reason": "no memory"})
        post(self, {"type": "finished", "device": device, "battery": {"percent": None, "charging": None}})

    monkeypatch.setattr(BrowserBench, "wait", wait)
    code, text, error = run(capsys, *words)
    assert (code, text) == (2, "")
    assert "no back end ran on any device (no memory)" in error
    assert not (tmp_path / "phone.json").exists()


def test_the_table_follows_the_devices(tmp_path):
    bench = BrowserBench(described(tmp_path / "mean.onnx"), Place(ort_dist=ort_folder(tmp_path)), SHORT)
    console = Console(width=120, record=True, file=io.StringIO())
    with bench.server:
        console.print(device_table(bench.collector.devices(), SHORT.repeats))
        device = welcome(bench)
        post(bench, {"type": "progress", "device": device, "plan": 0, "repeat": 0})
        post(bench, repeat(device, 0, [3.5]))
        console.print(device_table(bench.collector.devices(), SHORT.repeats))
    text = console.export_text()
    assert "waiting for a device" in text
    assert "1 Pixel 8, Android 15.0.0, Google Chrome 140.0.1.2" in text
    assert "1/2  3.500 ms" in text
    assert LiveView(2)._live is None, "no table into a file"


def test_what_a_device_says_of_itself_is_neither_markup_nor_control(tmp_path):
    """Brackets stand as they are, and an escape sequence does not reach the terminal."""
    bench = BrowserBench(described(tmp_path / "mean.onnx"), Place(ort_dist=ort_folder(tmp_path)), SHORT)
    console = Console(record=True, width=140, file=io.StringIO())
    with bench.server:
        facts = PHONE | {"model": "a[/b] [link=x]c\x1b]0;t\x07"}
        device = post(bench, {"type": "hello", "facts": facts, "plan": PLAN})[1]["device"]
        post(bench, {"type": "failed", "device": device, "plan": 0, "reason": "[bold]no\x1b[2J\nlowzoo: done"})
        console.print(device_table(bench.collector.devices(), SHORT.repeats))
    text = console.export_text()
    assert "a[/b] [link=x]c�]0;t�, Android" in text
    assert "failed: [bold]no�[2J lowzoo: done" in text
    assert "\x1b" not in text


def test_what_is_missing_is_said_before_a_model_is_exported(capsys, monkeypatch):
    monkeypatch.setattr("lowzoo.bench.targets.Request.artifact", lambda *_: pytest.fail("was exported"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, _, error = run(capsys, "bench", "rob_vit_tiny", "--on", "browser", "--port", port)
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in error


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--port", "99999"], "port 99999 is impossible"),
        (["--devices", "0"], "0 devices are impossible"),
        (["--certificate", "none.pem"], "none.pem holds no certificate"),
        (["--engine", "onnxruntime"], "unknown engine 'onnxruntime' for browser"),
    ],
)
def test_misuse(capsys, words, more, said):
    code, text, error = run(capsys, *words, *more)
    assert (code, text) == (2, "")
    assert said in error
