"""What an export says about feeding it, against what evaluation does: in words, and in code that is run or read."""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowzoo.export import ExportSpec
from lowzoo.export.artifacts.feeding import preprocessing_text, snippet
from lowzoo.export.artifacts.metadata import metadata
from lowzoo.preprocess.framing import frame
from lowzoo.preprocess.transform import preprocess, to_uint8_input
from tests.helpers.export import tiny_resolved
from tests.helpers.slow import slow_but

GREY = {"mean": (0.4,), "std": (0.2,)}
CASES = {
    "usual": {},
    "no room": {"crop_pct": 1.0},
    "oblong": {"input_size": (3, 24, 56)},
    "tall": {"input_size": (3, 56, 24), "crop_pct": 0.95},
    "squash": {"crop_mode": "squash", "input_size": (3, 24, 56)},
    "squash and crop": {"crop_mode": "squash", "crop_pct": 0.8},
    "border": {"crop_mode": "border", "crop_pct": 1.0},
    "oblong border": {"crop_mode": "border", "input_size": (3, 24, 57)},
    "wide crop": {"crop_pct": 1.15},
    "grey": {"input_size": (1, 32, 40), **GREY},
}
PHOTOS = [(75, 100), (100, 67), (32, 32), (97, 101), (31, 200), (200, 31), (28, 36), (1, 90)]
CORE_ML = ExportSpec(format="coreml")

# What a browser offers, as far as the snippet uses it. Drawing takes the rows and columns that PIL's nearest takes.
BROWSER = """
const { readFileSync } = require("fs");
const request = JSON.parse(readFileSync(0));
const photo = request.photo;
globalThis.OffscreenCanvas = class {
  constructor(width, height) {
    Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) });
  }
  getContext() { return this; }
  put(x, y, rgb) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    for (let c = 0; c < 3; c++) this.data[4 * (y * this.width + x) + c] = rgb[c];
  }
  fillRect(left, top, width, height) {
    const rgb = this.fillStyle.match(/\\d+/g).map(Number);
    for (let y = top; y < top + height; y++) for (let x = left; x < left + width; x++) this.put(x, y, rgb);
  }
  drawImage(picture, left, top, width, height) {
    if (!Number.isInteger(left) || !Number.isInteger(top)) throw new Error("no whole pixels");
    if (height !== request.rows.length || width !== request.columns.length) throw new Error(`${height} x ${width}`);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const at = 3 * (request.rows[y] * picture.width + request.columns[x]);
      this.put(left + x, top + y, picture.pixels.slice(at, at + 3));
    }
  }
  getImageData(left, top, width, height) { return this; }
};
const modelUrl = "model.onnx";
let fed;
const ort = {
  Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } },
  InferenceSession: { create: async () => ({ run: async (feeds) => { fed = feeds; return {}; } }) },
};
(async () => {
%s
})().then(() => {
  const [[name, { type, data, dims }]] = Object.entries(fed);
  console.log(JSON.stringify({ name, type, dims, data: Array.from(data) }));
});
"""


def taken(side: int, wanted: int) -> list[int]:
    """Which of `side` pixels in a row PIL's nearest takes for `wanted`."""
    row = Image.fromarray(np.arange(side, dtype=np.int32)[None])
    return np.asarray(row.resize((wanted, 1), Image.Resampling.NEAREST))[0].tolist()


def run_javascript(code: str, photo: np.ndarray, resized: tuple[int, int]) -> tuple[str, str, np.ndarray]:
    """Run the snippet in node, which must scale to `resized`: the input's name, its type, and what is fed."""
    request = {
        "photo": {"height": photo.shape[0], "width": photo.shape[1], "pixels": photo.ravel().tolist()},
        "rows": taken(photo.shape[0], resized[0]),
        "columns": taken(photo.shape[1], resized[1]),
    }
    ended = subprocess.run(
        ["node", "-e", BROWSER % code], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    fed = json.loads(ended.stdout)
    return fed["name"], fed["type"], np.array(fed["data"]).reshape(fed["dims"])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("feed", slow_but([{}, {"layout": "nchw"}, {"input": "tensor"}], [{"layout": "nchw"}]))
def test_javascript_feeds_what_evaluation_feeds(case: str, feed: dict[str, str]) -> None:
    resolved = tiny_resolved(**{"interpolation": "nearest", **CASES[case]})
    spec = ExportSpec(**feed)
    code = snippet(resolved, spec).partition("// JavaScript\n")[2]
    for shape in PHOTOS[:: 1 if feed == {} else 4]:
        photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        name, kind, found = run_javascript(code, photo, frame(*shape, resolved).resized)
        assert (name, kind) == (spec.input_name, "uint8" if spec.input == "image" else "float32")
        if spec.input == "tensor":
            np.testing.assert_allclose(found[0], preprocess(photo, resolved).numpy(), atol=1e-6)
        else:
            pixels = to_uint8_input(photo, resolved)
            np.testing.assert_array_equal(found[0], pixels if spec.pixels_last else pixels.transpose(2, 0, 1))


NAMES = {
    "rint": round,
    "nearbyint": round,
    "round": round,
    "floor": math.floor,
    "max": max,
    "min": min,
    "maxOf": max,
    "minOf": min,
}


def sides(code: str, pattern: str, height: int, width: int) -> tuple[int, int]:
    """Work out the two expressions of a snippet, which are Python's too, for a picture of that size."""
    found = re.search(pattern, code)
    assert found is not None, code
    tall, wide = (eval(text, {}, {**NAMES, "h": float(height), "w": float(width)}) for text in found.groups())
    return int(tall), int(wide)


@pytest.mark.parametrize("case", CASES)
def test_swift_and_kotlin_scale_to_the_same_sides(case: str) -> None:
    resolved = tiny_resolved(**CASES[case])
    swift, kotlin = snippet(resolved, CORE_ML), snippet(resolved, ExportSpec()).partition("// JavaScript")[0]
    for shape in PHOTOS:
        wanted = frame(*shape, resolved).resized
        assert sides(swift, r"let tall = (.*), wide = (.*)\n", *shape) == wanted
        assert sides(kotlin, r"val tall = \((.*)\)\.toInt\(\); val wide = \((.*)\)\.toInt\(\)\n", *shape) == wanted
    _, height, width = resolved.input_size
    assert f"place(wide, {width})" in swift
    assert f"{height} - place(tall, {height}) - tall" in swift
    assert f"width: {width}, height: {height}, bitsPerComponent: 8" in swift
    assert f"val left = place(wide, {width}); val top = place(tall, {height})" in kotlin
    assert f"Bitmap.createBitmap({width}, {height}, " in kotlin


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("feed", [{}, {"layout": "nchw"}, {"input": "tensor"}], ids=["nhwc", "nchw", "tensor"])
def test_python_feeds_what_evaluation_feeds(case: str, feed: dict[str, str], tmp_path: Path) -> None:
    resolved = tiny_resolved(**CASES[case])
    spec = ExportSpec(format="openvino", **feed)
    code = snippet(resolved, spec).removeprefix("# Python\n").partition("import openvino")[0]
    for shape in PHOTOS:
        photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(photo).save(tmp_path / "photo.png")
        names = {"photo_file": tmp_path / "photo.png"}
        exec(code, names)
        (found,) = names["pixels"]
        if spec.input == "tensor":
            np.testing.assert_allclose(found, preprocess(photo, resolved).numpy(), atol=1e-5)
        else:
            pixels = to_uint8_input(photo, resolved)
            np.testing.assert_array_equal(found, pixels if spec.pixels_last else pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("format_", ["openvino", "ncnn", "mnn"])
@pytest.mark.parametrize("case", CASES)
def test_cpp_scales_to_the_same_sides(case: str, format_: str) -> None:
    resolved = tiny_resolved(**CASES[case])
    code = snippet(resolved, ExportSpec(format=format_)).partition("// C++\n")[2]
    for shape in PHOTOS:
        plain = code.replace("std::", "")
        assert sides(plain, r"const int tall = (.*), wide = (.*);\n", *shape) == frame(*shape, resolved).resized
    channels, height, width = resolved.input_size
    assert f"place(wide, {width}), place(tall, {height})" in code
    assert f"input({height}, {width}, CV_8UC3" in code
    assert code.count("(") == code.count(")")
    assert code.count("{") == code.count("}")
    if channels == 1:
        assert "PIXEL_RGB2GRAY" in code or "19595" in code


def test_borders_have_the_colour_of_the_mean() -> None:
    resolved = tiny_resolved(crop_mode="border")
    assert "red: 102 / 255.0, green: 128 / 255.0, blue: 153 / 255.0" in snippet(resolved, CORE_ML)
    assert "drawRGB(102, 128, 153)" in snippet(resolved, ExportSpec())
    assert json.loads(metadata(resolved, ExportSpec())["lowzoo.preprocessing"])["border"] == [102, 128, 153]


@pytest.mark.parametrize(
    ("changes", "words", "resize"),
    [
        ({}, "resize the shorter side to 35 px (bicubic, antialiased); crop the centre to 32 x 32 px", (35,)),
        (
            {"input_size": (3, 128, 256), "crop_pct": 0.95},
            "resize, keeping the proportions, until it covers 269 x 134 px (bicubic, antialiased); crop the centre to "
            "256 x 128 px (width x height)",
            ("cover", 134, 269),
        ),
        (
            {"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "nearest"},
            "resize to 32 x 32 px (nearest), whatever the proportions",
            ("fill", 32, 32),
        ),
        (
            {"crop_mode": "border", "crop_pct": 1.0},
            "until it fits into 32 x 32 px (bicubic, antialiased); crop the centre to 32 x 32 px; what the picture "
            "leaves free is 102, 128, 153",
            ("fit", 32, 32),
        ),
        ({"crop_pct": 1.15}, "resize the shorter side to 27 px", (27,)),
        ({"crop_pct": 1.15}, "crop the centre to 32 x 32 px; what the picture leaves free is black", (27,)),
        ({"input_size": (1, 32, 32), **GREY}, "grey; resize the shorter side", (35,)),
        ({"input_size": (5, 32, 32), "mean": (0.5,) * 5, "std": (0.5,) * 5}, "5 channels; resize the", (35,)),
    ],
)
def test_the_words_and_the_metadata(changes: dict, words: str, resize: tuple) -> None:
    resolved = tiny_resolved(**changes)
    assert words in preprocessing_text(resolved, ExportSpec())
    said = json.loads(metadata(resolved, ExportSpec())["lowzoo.preprocessing"])
    assert said["center_crop"] == list(resolved.input_size[1:])
    assert (said["crop_mode"], said["crop_pct"]) == (resolved.crop_mode, resolved.crop_pct)
    filter_ = said["resize"].pop("interpolation")
    assert filter_ == resolved.interpolation
    assert tuple(said["resize"].values()) == resize


def test_numbers_are_whole() -> None:
    resolved = tiny_resolved(mean=(0.48145466, 0.4578275, 0.40821073))
    for spec in (ExportSpec(input="tensor"), ExportSpec(format="coreml", input="tensor")):
        assert "0.48145466" in snippet(resolved, spec)
        assert "0.48145466" in preprocessing_text(resolved, spec)
