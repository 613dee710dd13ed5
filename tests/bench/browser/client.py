"""What a page says to the server of the browser target, said by an http client."""

import http.client
import json

import numpy as np

from lowzoo.bench.engines.ort import prepare
from lowzoo.serving.runtime import FILES

PHONE = {
    "user_agent": "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36",
    "mobile": True,
    "model": "Pixel 8",
    "platform": "Android",
    "platform_version": "15.0.0",
    "architecture": "arm",
    "browser": "Google Chrome 140.0.1.2",
    "cores": 9,
    "memory_gb": 8,
    "isolated": True,
    "gpu": None,
    "battery": {"percent": 80, "charging": False},
}
PLAN = [{"backend": "wasm", "threads": 1}, {"backend": "wasm", "threads": 4}]


def ort_folder(place):
    """Something that looks like an npm install of onnxruntime-web."""
    folder = place / "node_modules/onnxruntime-web"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "9.8.7"}')
    for name in (*FILES["wasm"], "secret.txt"):
        (folder / "dist" / name).write_bytes(name.encode())
    return folder


def ask(bench, path, method="GET", body=None, host=None, token=None, headers=()):
    port = int(bench.server.url.rsplit(":", 1)[1].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    own = {"Host": host or f"127.0.0.1:{port}", **dict(headers)}
    connection.request(method, f"/{token or bench.server.token}/{path}", body, own)
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers
    connection.close()
    return found


def post(bench, message, **more):
    status, body, _ = ask(bench, "report", "POST", json.dumps(message), **more)
    return status, json.loads(body)


def features(bench):
    """What a device that computes rightly posts."""
    pixels = np.frombuffer(ask(bench, "input")[1], np.uint8).reshape(bench.input.shape)
    return np.ravel(prepare(str(bench.file.path), 1, True)(pixels)[0]).tolist()


def repeat(device, index, samples, plan=0, **changes):
    return {
        "type": "repeat",
        "device": device,
        "plan": plan,
        "repeat": index,
        "load_ms": 30.5,
        "first_run_ms": 9.0,
        "warmup_runs": 4,
        "samples_ms": samples,
        "runs_per_sample": 1,
        "clock_step_ms": 0.005,
        "features": [],
        "hidden": False,
    } | changes


def welcome(bench):
    return post(bench, {"type": "hello", "facts": PHONE, "plan": PLAN})[1]["device"]
