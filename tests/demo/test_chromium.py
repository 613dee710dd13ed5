"""The page in a real browser, where there is one: what fingers do to it. A stand-in is its onnxruntime-web."""

import importlib.util
import time
from pathlib import Path

import pytest
from PIL import Image

from lowzoo.demo.session import TeachingRoom, door
from lowzoo.serving.place import Serving
from tests.bench.browser.client import ort_folder
from tests.demo.files import features_file

# The graph of `features_file`: mean colours of the first two rows.
RUNTIME = """
export const env = { wasm: {} };
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const mean = (data, row, channel) => {
  let sum = 0;
  for (let x = 0; x < 8; x++) sum += data[(row * 8 + x) * 3 + channel];
  return sum / 8;
};
export const InferenceSession = { create: async () => ({ run: async ({ image }) => ({
  features: { data: [0, 1, 2, 3, 4, 5].map((i) => mean(image.data, Math.floor(i / 3), i % 3)), dispose() {} },
}) }) };
"""
PAGE = '(await import(location.href + "page.js")).page'
NOTE = "document.getElementById('note').textContent"


def driver():
    path = Path(__file__).parents[2] / "benchmarks" / "chromium.py"
    found = importlib.util.spec_from_file_location("chromium", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


chromium = driver()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.program() is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    dist = ort_folder(folder)
    (dist / "dist" / "ort.wasm.bundle.min.mjs").write_text(RUNTIME)
    return TeachingRoom(features_file(folder / "rows.onnx"), door(Serving(ort_dist=dist)))


@pytest.fixture(scope="module")
def browser():
    with chromium.browser("--use-fake-ui-for-media-stream") as found:
        yield found


@pytest.fixture
def page(room, browser):
    with room.serving() as (server, _):
        found = browser.page(server.url)
        ready(found)
        yield found
        found.close()


@pytest.fixture
def pictures(tmp_path):
    colours = {"red": (200, 20, 30), "green": (20, 190, 40), "blue": (10, 30, 210)}
    for name, colour in colours.items():
        Image.new("RGB", (24, 16), colour).save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in colours}


def ready(page):
    page.until('document.body && document.body.dataset.state === "ready"')


def leave(page):
    """Say yes to the browser's question whether to leave, which has to come."""
    end = time.monotonic() + 10
    while True:
        try:
            return page.call("Page.handleJavaScriptDialog", accept=True)
        except RuntimeError:  # it is not asked yet
            assert time.monotonic() < end, "the page would have been left without a question"
            time.sleep(0.05)


def count(page, thing):
    return page.run(f"(async () => {PAGE}.things[{thing}].pictures.length)()")


def teach(page, thing, name, file, times=1):
    page.run(
        f"(() => {{ const input = document.querySelectorAll('.name')[{thing}]; input.value = '{name}'; "
        "input.dispatchEvent(new Event('input')); })()"
    )
    page.choose(f".card:nth-of-type({thing + 1}) .chosen", [file] * times)
    page.until(f"(async () => {PAGE}.things[{thing}].pictures.length === {times})()")


def test_what_was_taught_outlives_a_reload(page, pictures):
    teach(page, 0, "mug", pictures["red"], 2)
    teach(page, 1, "chair", pictures["green"])
    page.call("Page.reload")
    leave(page)
    ready(page)
    assert "What was taught in this tab is back." in page.run(NOTE)
    assert (count(page, 0), count(page, 1)) == (2, 1)
    page.choose("#pointed", [pictures["green"]])
    assert page.until(f"(async () => {PAGE}.last && {PAGE}.last.index + 1)()") == 2
    assert page.run("document.getElementById('spoken').textContent").startswith("chair, margin 0.")


def test_no_more_than_a_thing_takes(page, pictures):
    """Two rows of pictures at once, each of which alone fits."""
    for part in (".chosen", ".taken"):
        page.run(f"document.querySelector('.card {part}').multiple = true")
        page.choose(f".card:nth-of-type(1) {part}", [pictures["red"]] * 20)
    page.until("!document.querySelector('.busy')")
    page.until(f"{NOTE}.includes('30 pictures at most')")
    assert count(page, 0) == 30


def test_things_are_called_by_their_numbers(page, pictures):
    teach(page, 1, "mug", pictures["red"])
    teach(page, 2, "", pictures["green"])
    page.run("document.getElementById('download').click()")
    assert page.run(NOTE) == "Thing 3 has no name."
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.run(focused) == "Name of thing 3"
    assert page.run("scrollY") > 0
    assert page.run("document.getElementById('note').getBoundingClientRect().top") == 0, "seen beside the button"
    page.run("document.querySelector('.remove').focus(); document.querySelector('.remove').click()")
    assert page.run(focused) == "Remove thing 1"
    labels = "[...document.querySelectorAll('.card:last-child [aria-label]')].map((one) => one.ariaLabel)"
    assert page.run(labels)[:4] == [
        "Name of thing 2",
        "Remove thing 2",
        "Thing 2: not compared",
        "Remove picture 1 of thing 2",
    ]
    page.run("window.confirm = () => true")
    picture = "document.querySelector('.card:last-child .pictures button')"
    page.run(f"{picture}.focus(); {picture}.click()")
    assert page.run(focused) == "Photograph thing 2"


def test_a_session_asks_before_it_takes_the_place_of_what_is_here(page, pictures, tmp_path):
    teach(page, 0, "mug", pictures["red"])
    page.until("sessionStorage.length === 1")
    file = tmp_path / "session.json"
    file.write_text(page.run("sessionStorage.getItem('lowzoo.demo_session')"))
    teach(page, 1, "chair", pictures["green"])
    page.run("window.asked = 0; window.confirm = () => { window.asked++; return false; }")
    page.choose("#load", [file])
    page.until("window.asked === 1")
    assert count(page, 1) == 1
    page.run("window.confirm = () => true")
    page.choose("#load", [file])
    page.until(f"{NOTE} === '3 things loaded.'")
    assert count(page, 1) == 0


def test_one_camera_and_none_that_shows_nothing(page):
    page.run(
        "window.opened = []; const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices); "
        "devices.getUserMedia = async (what) => { const one = await open(what); opened.push(one); return one; }; 0"
    )
    page.run(
        "HTMLMediaElement.prototype.kept = HTMLMediaElement.prototype.play; "
        "HTMLMediaElement.prototype.play = async () => { throw new DOMException('', 'AbortError'); }; 0"
    )
    live = "opened.filter((one) => one.getTracks().some((track) => track.readyState === 'live')).length"
    page.run("document.getElementById('start').click()")
    page.until(f"{NOTE}.includes('The camera cannot be used (AbortError)')")
    assert page.run(f"[opened.length, {live}]") == [1, 0]
    page.run("HTMLMediaElement.prototype.play = HTMLMediaElement.prototype.kept; 0")
    page.run("for (let i = 0; i < 2; i++) document.getElementById('start').click()")
    page.until("document.body.classList.contains('live')")
    assert page.run(f"[opened.length, {live}]") == [2, 1]
    page.run("document.getElementById('stop').click()")
    assert page.run(live) == 0


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1600, 700)])
def test_the_preview_is_never_cut(page, width, height):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
    box = "(({ width, height }) => [width, height])(document.getElementById('view').getBoundingClientRect())"
    wide, high = page.run(box)
    assert wide == pytest.approx(high, abs=1)
    assert high <= 0.6 * height + 1
    page.run("document.getElementById('view').style.setProperty('--ratio', 2)")
    wide, high = page.run(box)
    assert wide == pytest.approx(2 * high, abs=1)


def test_a_page_whose_script_does_not_come(room, browser):
    """Nothing but the page itself says so, after a while."""
    with room.serving() as (server, _):
        server.contents["seen.js"] = server.contents.pop("page.js")
        page = browser.page(server.url)
        page.until("document.readyState === 'complete' && !!document.querySelector('.late')")
        seen = "getComputedStyle(document.querySelector('.late')).visibility"
        assert page.run(seen) == "hidden"
        page.run("document.getAnimations().forEach((one) => one.finish())")
        assert page.run(seen) == "visible"
        page.close()
