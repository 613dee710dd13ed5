"""A page that is served, and an engine that runs its scripts."""

import base64
import json
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from lowzoo.demo.session import TeachingRoom, door
from lowzoo.serving.place import Serving
from tests.bench.browser.client import ort_folder
from tests.demo.files import features_file


class Served:
    """What `tests.bench.browser.client` speaks to."""

    def __init__(self, room, server, fingerprint):
        self.room, self.server, self.fingerprint = room, server, fingerprint


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    return ort_folder(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def served(tmp_path, dist):
    room = TeachingRoom(features_file(tmp_path / "rows.onnx"), door(Serving(ort_dist=dist)))
    with room.serving() as (server, fingerprint):
        yield Served(room, server, fingerprint)


_RUN = """
import { readFileSync, writeFileSync } from "node:fs";
const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const bytesOf = (word) => Uint8Array.from(Buffer.from(word, "base64"));
const floatsOf = (word) => { const bytes = bytesOf(word); return new Float32Array(bytes.buffer); };
const wordOf = (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
BODY
writeFileSync(process.argv[3], JSON.stringify(answer));
"""


@pytest.fixture
def javascript(tmp_path):
    """Runs a piece of JavaScript that makes `answer` of `given`, beside the page's own modules."""
    engine = shutil.which("node")
    if engine is None:
        pytest.skip("no engine for JavaScript on this machine")
    folder = tmp_path / "page"
    shutil.copytree(str(files("lowzoo.demo") / "page"), folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(body, given):
        (folder / "given.json").write_text(json.dumps(given))
        (folder / "run.js").write_text(_RUN.replace("BODY", body))
        words = [engine, "run.js", "given.json", "answer.json"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "answer.json").read_text())

    return run


def word_of(array):
    """Base64 of an array's bytes."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
