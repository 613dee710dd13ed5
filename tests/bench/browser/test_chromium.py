"""The browser target in a real browser: Chromium runs real onnxruntime-web, where both are on the machine.

LOWZOO_ORT_DIST names a folder with onnxruntime-web (`npm install onnxruntime-web`).
"""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from lowzoo.bench.browser.session import BrowserBench, Place
from lowzoo.bench.results.assemble import check_samples
from lowzoo.export.artifact import write_artifact
from tests.helpers.bench import SHORT
from tests.helpers.export import tiny_resolved

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ORT = os.environ.get("LOWZOO_ORT_DIST")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(ORT is None, reason="LOWZOO_ORT_DIST names no folder with onnxruntime-web"),
]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET = ["--disable-background-networking", "--disable-component-update"]


@pytest.mark.parametrize("secure", [True, False], ids=["on this computer", "over plain http"])
def test_a_browser_opens_the_link_and_its_timings_arrive(tmp_path, secure):
    """Under a name that is not this computer's the browser trusts the page as little as over plain http in a LAN."""
    artifact = write_artifact(tiny_resolved(), out=tmp_path / "tiny.onnx").path
    bench = BrowserBench(artifact, Place(ort_dist=Path(ORT), minutes=2), SHORT)
    url, flags = f"{bench.server.url}#start", []
    if not secure:
        url, flags = url.replace("127.0.0.1", "phone.test"), ["--host-resolver-rules=MAP phone.test 127.0.0.1"]
        bench.server.hosts.update([host.replace("127.0.0.1", "phone.test") for host in bench.server.hosts])
    with bench.server:
        command = [CHROMIUM, *FLAGS, *QUIET, *flags, f"--user-data-dir={tmp_path / 'profile'}", url]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watch = threading.Timer(100, browser.kill)
        watch.start()
        try:
            assert bench.wait(lambda devices: None)
        finally:
            watch.cancel()
            browser.kill()
            browser.wait()
    results = bench.results()
    threads = [result.engine.threads for result in results if result.engine.provider == "WASM"]
    assert threads[0] == 1
    assert len(threads) == (2 if secure and (os.cpu_count() or 1) > 1 else 1), "threads where the page is isolated"
    for result in results:
        check_samples(result)
        assert len(result.repeats) == SHORT.repeats
        assert result.parity.agrees
        assert result.engine.settings["cross_origin_isolated"] == str(secure).lower()
