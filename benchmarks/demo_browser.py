"""`lowzoo demo` in a real browser: three things taught by three photographs each, and sixty others named.

    python benchmarks/demo_browser.py --data DIR --ort-dist DIR [--draws 5] [--pictures DIR] [--out FILE.json]

DIR holds tiny-imagenet-100 as parquet; onnxruntime-web comes from an npm install. Chromium is driven at the size of a
phone, with pictures through the file picker and with a fake camera that shows a film of them; without a Chromium the
script says so and ends. What has to hold:

    answers    over all draws of three classes the page is right at least as often as `lowzoo eval lowshot` (logistic
               regression) on the same pictures; `rule` compares the two on sixty draws, without a browser
    features   those of the page agree with PyTorch's on the same files, see `features`
    file       `lowzoo check` keeps every bound of the downloaded ONNX file, and onnxruntime gives the page's answers
    session    saved in one page and loaded in another it gives the same answers; another model's is refused
    kinds      so do those of a photograph that is turned, grey, transparent, has a colour profile, ...; what a browser
               reads in another way than PIL is stated
    room       two phones at once, a camera that is denied, none over plain http, one by --https, a wrong token, a
               picture of fifty megapixels, a connection that is lost: each as it says under `situations`

`--pictures` keeps screenshots. Milliseconds are of a browser on a machine that is shared.
"""

import argparse
import contextlib
import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chromium
import documents
import numpy as np
import onnxruntime
from demo_claims import OTHERS, SHOTS, THINGS, held
from PIL import Image, ImageCms

import lowzoo
from lowzoo.bench.host.machine import this_device
from lowzoo.data.source import open_set
from lowzoo.demo.session import TeachingRoom, door
from lowzoo.evaluate import lowshot
from lowzoo.evaluate.probes.logistic import LOGISTIC, choose, classify
from lowzoo.export import check
from lowzoo.export.artifact import write_artifact
from lowzoo.features.extraction import Extraction
from lowzoo.preprocess.transform import to_uint8_input
from lowzoo.serving.place import Serving
from lowzoo.zoo.resolve import load_model

OUT = Path(__file__).parent / "results" / "demo_browser.json"
MODEL = "rob_vit_tiny"
PARTS = ("draws", "rule", "kinds", "session", "situations", "network", "camera")
PAGE = '(await import(location.href.split("#")[0] + "page.js")).page'


class Server:
    """A page that is served."""

    def __init__(self, room: TeachingRoom, server: Any) -> None:
        self.room, self.server = room, server
        self._said: dict[int, str] = {}
        self.lines: list[str] = []

    def news(self) -> list[str]:
        """The terminal's lines since the last time."""
        found = list(self.room.room.news(self._said))
        self.lines += found
        return found


@contextlib.contextmanager
def serving(artifact: Path, ort: Path, *, https: bool = False) -> Iterator[Server]:
    room = TeachingRoom(artifact, door(Serving(ort_dist=ort), own_certificate=https))
    with room.serving() as (server, _):
        yield Server(room, server)


def draw(data: Path, seed: int, folder: Path) -> list[str]:
    """Three classes, each with three photographs to learn from and twenty others, as folders."""
    images = open_set(str(data)).open("validation")
    labels, random = images.require_labels(), np.random.default_rng(seed)
    names = [f"thing {i + 1}" for i in range(THINGS)]
    for name, label in zip(names, random.choice(np.unique(labels), THINGS, replace=False), strict=True):
        chosen = random.permutation(np.flatnonzero(labels == label))[: SHOTS + OTHERS]
        for place, index in enumerate(chosen.tolist()):
            part = folder / ("train" if place < SHOTS else "validation") / name
            part.mkdir(parents=True, exist_ok=True)
            (part / f"{place:02d}.jpg").write_bytes(images.encoded(index))
    return names


def others(folder: Path, names: list[str]) -> list[tuple[int, Path]]:
    return [(i, file) for i, name in enumerate(names) for file in sorted((folder / "validation" / name).iterdir())]


def opened(browser: chromium.Browser, url: str, **more: Any) -> chromium.Page:
    page = browser.page(url, **more)
    page.until('document.body && document.body.dataset.state === "ready"')
    return page


def rename(page: chromium.Page, names: list[str]) -> None:
    for i, name in enumerate(names):
        page.run(
            f"(() => {{ const input = document.querySelectorAll('.name')[{i}]; input.value = {json.dumps(name)}; "
            "input.dispatchEvent(new Event('input')); })()"
        )


def teach(page: chromium.Page, folder: Path, names: list[str]) -> None:
    rename(page, names)
    for i, name in enumerate(names):
        files = sorted((folder / "train" / name).iterdir())
        page.choose(f".card:nth-of-type({i + 1}) .chosen", files)
        page.until(f"(async () => {PAGE}.things[{i}].pictures.length === {len(files)})()")


def point(page: chromium.Page, file: Path) -> dict[str, Any]:
    page.run(f"(async () => {{ {PAGE}.last = null; }})()")
    page.choose("#pointed", [file])
    answer: dict[str, Any] = page.until(
        f"(async () => {{ const {{ last }} = {PAGE}; return last && {{ ...last, features: [...last.features] }}; }})()"
    )
    return answer


def torch_features(files: list[Path]) -> np.ndarray:
    import torch

    resolved = lowzoo.load(MODEL)
    with torch.inference_mode():
        return torch.cat([resolved.model(resolved.transform(file)[None]) for file in files]).numpy()


def compared(found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    return {
        "images": len(found),
        "relative_error": float(np.abs(found - wanted).max() / np.abs(wanted).max()),
        "min_cosine": float(cosine.min()),
    }


def downloaded(page: chromium.Page, button: str, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    page.downloads_to(folder)
    page.run(f"document.getElementById('{button}').click()")
    end = time.monotonic() + 30
    while not (folder / name).is_file() or (folder / f"{name}.crdownload").exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{name} was not downloaded: {page.run('document.body.innerText')}")
        time.sleep(0.1)
    return folder / name


def cosines_by_onnx(path: Path, files: list[Path]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    resolved = lowzoo.load(MODEL)
    rows = [to_uint8_input(np.asarray(Image.open(file).convert("RGB")), resolved)[None] for file in files]
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: row})[0] for row in rows])


def by_picker(browser: chromium.Browser, url: str, data: Path, seed: int, folder: Path) -> dict[str, Any]:
    """One draw: the page's answers beside those of `eval lowshot`, of the downloaded file and of PyTorch."""
    names = draw(data, seed, folder)
    page = opened(browser, url)
    teach(page, folder, names)
    queries = others(folder, names)
    answers = [point(page, file) for _, file in queries]
    right = [answer["index"] == truth for answer, (truth, _) in zip(answers, queries, strict=True)]
    file = downloaded(page, "download", folder / "taken", "lowzoo-taught.onnx")
    report = check(file)
    by_file = cosines_by_onnx(file, [path for _, path in queries])
    by_page = np.array([answer["cosines"] for answer in answers])
    regression = lowshot(MODEL, data=folder, shots=(SHOTS,), share=0, splits=1)
    found = {
        "seed": seed,
        "page_top1": 100 * float(np.mean(right)),
        "lowshot_top1": regression.result.figures[0].mean,
        "features": compared(
            np.array([answer["features"] for answer in answers]), torch_features([path for _, path in queries])
        ),
        "file": {
            "bytes": file.stat().st_size,
            "broken": list(report.broken),
            "same_weights": report.same_weights,
            "relative_error": report.parity.relative_error,
            "same_answers": int((by_file.argmax(1) == by_page.argmax(1)).sum()),
            "largest_difference_of_a_cosine": float(np.abs(by_file - by_page).max()),
        },
        "speed": page.run("document.getElementById('speed').textContent"),
    }
    page.close()
    return found


def draws(artifact: Path, ort: Path, data: Path, count: int, work: Path) -> dict[str, Any]:
    with serving(artifact, ort) as served, chromium.browser() as browser:
        rows = [by_picker(browser, served.server.url, data, seed, work / f"draws{seed}") for seed in range(count)]
    return {
        "page_top1": float(np.mean([row["page_top1"] for row in rows])),
        "lowshot_top1": float(np.mean([row["lowshot_top1"] for row in rows])),
        "rows": rows,
    }


def rule(data: Path, count: int = 60) -> dict[str, Any]:
    """The page's rule and that of `eval lowshot` on the same draws, by PyTorch's features, which are the page's."""
    source = open_set(str(data)).open("validation")
    labels = source.require_labels()
    kept = np.concatenate([np.flatnonzero(labels == label)[: SHOTS + OTHERS] for label in np.unique(labels)])
    (found,) = Extraction().run(load_model(MODEL), (source.subset(kept),))
    x, y = found.x.numpy().astype(np.float64), found.labels.numpy()
    unit, settings = x / np.linalg.norm(x, axis=1, keepdims=True), LOGISTIC["rob"]
    nearest, regression = [], []
    for seed in range(count):
        random = np.random.default_rng(seed)
        classes = random.choice(np.unique(y), THINGS, replace=False)
        order = [random.permutation(np.flatnonzero(y == label)) for label in classes]
        few, rest = np.concatenate([row[:SHOTS] for row in order]), np.concatenate([row[SHOTS:] for row in order])
        means = np.stack([unit[row[:SHOTS]].mean(0) for row in order])
        cosines = unit[rest] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
        nearest.append(100 * float((classes[cosines.argmax(1)] == y[rest]).mean()))
        strength, _ = choose(x[few], y[few], settings, 0)
        regression.append(100 * float((classify(x[few], y[few], x[rest], settings, strength)[0] == y[rest]).mean()))
    apart = np.subtract(nearest, regression)
    return {
        "draws": count,
        "nearest_prototype_top1": float(np.mean(nearest)),
        "lowshot_top1": float(np.mean(regression)),
        "difference": float(apart.mean()),
        "standard_error": float(apart.std(ddof=1) / count**0.5),
    }


def pictures_of_kinds(artifact: Path, ort: Path, folder: Path, names: list[str]) -> dict[str, Any]:
    files = kinds(folder, others(folder, names)[0][1])
    with serving(artifact, ort) as served, chromium.browser() as browser:
        page = opened(browser, served.server.url)
        teach(page, folder, names)
        return {
            word: compared(np.array([point(page, file)["features"]]), torch_features([file]))
            for word, file in files.items()
        }


def sessions(artifact: Path, ort: Path, folder: Path, names: list[str]) -> dict[str, Any]:
    with serving(artifact, ort) as served, chromium.browser() as browser:
        return saved_and_loaded(browser, served.server.url, folder, names)


def saved_and_loaded(browser: chromium.Browser, url: str, folder: Path, names: list[str]) -> dict[str, Any]:
    page = opened(browser, url)
    teach(page, folder, names)
    file = downloaded(page, "save", folder / "taken", "lowzoo-session.json")
    other = opened(browser, url)
    other.choose("#load", [file])
    other.until(
        f"(async () => {PAGE}.things.length === {len(names)} && {PAGE}.things[2].pictures.length === {SHOTS})()"
    )
    pictures = [path for _, path in others(folder, names)][:: OTHERS // 2]
    same = [point(page, path)["cosines"] == point(other, path)["cosines"] for path in pictures]
    document = json.loads(file.read_text())
    document["model"] |= {"sha256": "0" * 64, "name": "another"}
    strange = folder / "taken" / "strange.json"
    strange.write_text(json.dumps(document))
    other.choose("#load", [strange])
    other.until("document.getElementById('note').textContent.includes('another model')")
    found = {
        "bytes": file.stat().st_size,
        "pictures": len(same),
        "equal_to_the_bit": sum(same),
        "another_models": other.run("document.getElementById('note').textContent"),
        "pictures_kept": other.run(f"(async () => {PAGE}.things[0].pictures.length)()"),
    }
    page.close()
    other.close()
    return found


def kinds(folder: Path, photo: Path) -> dict[str, Path]:
    """One photograph in ways in which it may lie on a phone."""
    place = folder / "kinds"
    place.mkdir(exist_ok=True)
    image = Image.open(photo).convert("RGB").resize((300, 200), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Red and green change places, so that whoever follows the profile sees another picture.
    profile = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    glass = image.convert("RGBA")
    glass.putalpha(Image.linear_gradient("L").resize(image.size))
    grey = np.asarray(image.convert("L"))
    made = {
        "turned by its camera": ("turned.jpg", image, {"exif": turned, "quality": 90}),
        "progressive": ("progressive.jpg", image, {"progressive": True, "quality": 90}),
        "grey": ("grey.jpg", image.convert("L"), {}),
        "with a colour profile": ("profile.jpg", image, {"icc_profile": profile, "quality": 90}),
        "transparent": ("glass.png", glass, {}),
        "palette": ("palette.png", image.quantize(64), {}),
        "WebP": ("photo.webp", image, {"quality": 90}),
        "tall": ("tall.png", image.resize((40, 600)), {}),
        "wide": ("wide.png", image.resize((900, 30)), {}),
        "16 bits, grey": ("deep.png", Image.fromarray(grey.astype(np.uint16) * 257), {}),
        "CMYK": ("cmyk.jpg", image.convert("CMYK"), {"quality": 90}),
    }
    for name, picture, how in made.values():
        picture.save(place / name, **how)
    return {word: place / name for word, (name, _, _) in made.items()}


def situations(artifact: Path, ort: Path, folder: Path, names: list[str], shots: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    note = "document.getElementById('note').textContent"
    with serving(artifact, ort) as served, chromium.browser() as browser:
        url = served.server.url
        first, second = opened(browser, url), opened(browser, url, dark=True)
        teach(first, folder, names)
        teach(second, folder, names[::-1])
        first.until(f"(async () => {{ await new Promise((next) => setTimeout(next, 2500)); return {PAGE}.ready; }})()")
        found["two phones at once"] = served.news()
        both = [point(page, others(folder, names)[0][1])["index"] for page in (first, second)]
        found["the same photograph, taught in the other order"] = both
        for page, word in ((first, "light"), (second, "dark")):
            if shots:
                page.picture(shots / f"{word}.png")
                page.picture(shots / f"{word}_whole.png", whole=True)

        denied = opened(browser, url, deny=["videoCapture"])
        denied.run("document.getElementById('start').click()")
        denied.until(f"{note}.includes('camera')")
        found["a denied camera"] = denied.run(note)
        teach(denied, folder, names)
        found["a denied camera"] += (
            f" ({denied.run(f'(async () => {PAGE}.things[0].pictures.length)()')} pictures chosen then)"
        )
        if shots:
            denied.picture(shots / "denied.png")
        denied.close()

        for word, address in (
            ("a wrong token", url.replace(served.server.token, "wrong")),
            ("no token", url.replace(f"{served.server.token}/", "")),
        ):
            try:
                urllib.request.urlopen(address, timeout=10)
            except urllib.error.HTTPError as error:
                found[word] = error.code

        large = folder / "fifty.jpg"
        whole = Image.open(others(folder, names)[0][1]).convert("RGB")
        whole.resize((8660, 5774), Image.Resampling.BICUBIC).save(large, quality=90)
        start = time.monotonic()
        answer = point(first, large)
        found["fifty megapixels"] = {
            "answer_is_that_of_the_small_one": answer["index"] == both[0],
            "seconds": round(time.monotonic() - start, 1),
            **compared(np.array([answer["features"]]), torch_features([large])),
        }
        large.unlink()
        text = folder / "text.jpg"
        text.write_text("no picture")
        first.choose("#pointed", [text])
        first.until(f"{note}.includes('cannot be read')")
        found["no picture"] = first.run(note)
        second.close()
        time.sleep(1)
        found["a phone that leaves"] = next(line for line in served.news() if line.startswith("phone 2"))

        served.server.__exit__()
        before = point(first, others(folder, names)[-1][1])
        teach_more = sorted((folder / "validation" / names[0]).iterdir())[:1]
        first.choose(".card:nth-of-type(1) .chosen", teach_more)
        first.until(f"(async () => {PAGE}.things[0].pictures.length === {SHOTS + 1})()")
        first.until("!document.getElementById('line').hidden")
        file = downloaded(first, "download", folder / "taken-offline", "lowzoo-taught.onnx")
        found["a lost connection"] = {
            "said": first.run("document.getElementById('line').textContent"),
            "still_answers": before["index"] is not None,
            "still_downloads": check(file).broken == (),
        }
        if shots:
            first.picture(shots / "offline.png")
        served.server._server.server_close = lambda: None  # it is closed already
        served.server._server.shutdown = lambda: None
    return found


def over_the_network(artifact: Path, ort: Path, folder: Path, names: list[str]) -> dict[str, Any]:
    """Under a name that is not this computer's, which browsers trust no more than a phone's page in a network."""
    found = {}
    resolve = "--host-resolver-rules=MAP phone.test 127.0.0.1"
    for word, https in (("plain http", False), ("--https", True)):
        flags = [resolve, "--use-fake-ui-for-media-stream", *(["--ignore-certificate-errors"] if https else [])]
        with serving(artifact, ort, https=https) as served, chromium.browser(*flags) as browser:
            served.server.hosts.update([host.replace("127.0.0.1", "phone.test") for host in served.server.hosts])
            page = opened(browser, served.server.url.replace("127.0.0.1", "phone.test"))
            said = page.run("document.getElementById('note').textContent")
            if https:
                page.run("document.getElementById('start').click()")
                page.until("document.getElementById('camera').videoWidth")
            teach(page, folder, names)
            found[word] = {
                "secure": page.run("isSecureContext"),
                "isolated": page.run("crossOriginIsolated"),
                "camera": bool(page.run("document.getElementById('camera').videoWidth")),
                "said": said,
                "pictures": page.run(f"(async () => {PAGE}.things[2].pictures.length)()"),
            }
            page.close()
    return found


WIDTH, HEIGHT, STRIP = 640, 480, 48


def film(path: Path, files: list[Path]) -> None:
    """A film of a photograph a second, each with its number as black and white bars left of what the network sees."""
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F1:1 Ip A1:1 C420jpeg\n".encode())
        for number, file in enumerate(files):
            frame = Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128))
            photo = Image.open(file).convert("RGB").resize((HEIGHT, HEIGHT), Image.Resampling.BICUBIC)
            frame.paste(photo, ((WIDTH - HEIGHT) // 2, 0))
            for bit in range(8):
                box = (0, bit * HEIGHT // 8, STRIP, (bit + 1) * HEIGHT // 8)
                frame.paste((255, 255, 255) if number >> bit & 1 else (0, 0, 0), box)
            # Chromium reads the numbers as those of television: from 16 to 235, colours to 240.
            y, cb, cr = frame.convert("YCbCr").split()
            y = y.point(lambda value: round(16 + value * 219 / 255))
            cb, cr = (part.point(lambda value: round(16 + value * 224 / 255)) for part in (cb, cr))
            half = (WIDTH // 2, HEIGHT // 2)
            out.write(b"FRAME\n" + y.tobytes() + cb.resize(half).tobytes() + cr.resize(half).tobytes())


_NUMBER = """(() => {
  const video = document.getElementById("camera"), context = new OffscreenCanvas(1, 8).getContext("2d");
  if (!video.videoWidth) return -1;
  let number = 0;
  for (let bit = 0; bit < 8; bit++) {
    context.drawImage(video, 12, (bit + 0.5) * video.videoHeight / 8, 1, 1, 0, bit, 1, 1);
    number += context.getImageData(0, bit, 1, 1).data[0] > 127 ? 1 << bit : 0;
  }
  return number;
})()"""


def by_camera(artifact: Path, ort: Path, folder: Path, names: list[str], shots: Path | None) -> dict[str, Any]:
    """The same draw through the camera: each photograph is held up for a second."""
    teaching = [(i, file) for i, name in enumerate(names) for file in sorted((folder / "train" / name).iterdir())]
    # Shot by shot in the order in which they are photographed, then the others.
    shown = [*teaching, *others(folder, names)]
    movie = folder / "film.y4m"
    film(movie, [file for _, file in shown])
    right, seen = 0, dict[int, bool]()
    with (
        serving(artifact, ort) as served,
        chromium.browser(f"--use-file-for-fake-video-capture={movie}", "--use-fake-ui-for-media-stream") as browser,
    ):
        page = opened(browser, served.server.url)
        rename(page, names)
        page.run("document.getElementById('start').click()")
        page.until("document.getElementById('camera').videoWidth")
        for number, (thing, _) in enumerate(teaching):
            page.until(
                f"(() => {{ if ({_NUMBER} !== {number}) return false; "
                f"document.querySelectorAll('.shoot')[{thing}].click(); return true; }})()",
                seconds=200,
            )
        page.until(f"(async () => {PAGE}.things.every((thing) => thing.pictures.length === {SHOTS}))()")
        end = time.monotonic() + 2.5 * len(shown)
        while len(seen) < len(shown) - len(teaching) and time.monotonic() < end:
            # Where the number is the same before and after the answer, the answer is of that photograph.
            before, answer, after = page.run(
                f"""(async () => {{
                  const page = {PAGE}, before = {_NUMBER};
                  for (let turn = 0; turn < 2; turn++) {{
                    page.last = null;
                    while (!page.last) await new Promise((next) => setTimeout(next, 5));
                  }}
                  return [before, page.last.index, {_NUMBER}];
                }})()"""
            )
            if before == after and before >= len(teaching):
                seen[before] = answer == shown[before][0]
        right = sum(seen.values())
        if shots:
            page.picture(shots / "camera.png")
        speed = page.run("document.getElementById('speed').textContent")
        time.sleep(1.5)
        lines = served.news()
        page.close()
    movie.unlink()
    return {"photographs": len(seen), "top1": 100 * right / max(1, len(seen)), "speed": speed, "terminal": lines[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="tiny-imagenet-100 as parquet")
    parser.add_argument("--ort-dist", required=True, type=Path, help="folder of onnxruntime-web")
    parser.add_argument("--draws", type=int, default=5, help="draws of three classes")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part alone; may be repeated")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if chromium.program() is None:
        print("skipped: no Chromium on this machine")
        return
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lowzoo-demo-") as place:
        work = Path(place)
        artifact = write_artifact(MODEL, out=work / "served.onnx").path
        folder = work / "draw0"
        names = draw(given.data, 0, folder)
        browser_version = subprocess.run([chromium.program() or "", "--version"], capture_output=True, text=True).stdout
        document = (documents.read(given.out) if given.only else {}) | {
            "model": MODEL,
            "data": f"tiny-imagenet-100 validation: {THINGS} classes a draw, {SHOTS} photographs of each taught, "
            f"{OTHERS} others of each",
            "machine": this_device().model_dump(),
            "versions": documents.versions(("torch", "timm", "onnxruntime", "numpy", "pillow")),
            "browser": browser_version.strip(),
        }
        parts: dict[str, Callable[[], Any]] = {
            "draws": lambda: draws(artifact, given.ort_dist, given.data, given.draws, work),
            "rule": lambda: rule(given.data),
            "kinds": lambda: pictures_of_kinds(artifact, given.ort_dist, folder, names),
            "session": lambda: sessions(artifact, given.ort_dist, folder, names),
            "situations": lambda: situations(artifact, given.ort_dist, folder, names, given.pictures),
            "network": lambda: over_the_network(artifact, given.ort_dist, folder, names),
            "camera": lambda: by_camera(artifact, given.ort_dist, folder, names, given.pictures),
        }
        for word in given.only or parts:
            document[word] = parts[word]()
            document.setdefault("circumstances", {})[word] = documents.circumstances()
            document["holds"] = held(document)
            documents.write(given.out, document)
            print(word, json.dumps(document[word], indent=1), flush=True)
        print(json.dumps(document["holds"], indent=1))


if __name__ == "__main__":
    main()
