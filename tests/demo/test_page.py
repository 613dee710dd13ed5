"""The page's own scripts: pictures are prepared as lowzoo does it, a head is put into a file, sessions are checked."""

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from lowzoo.demo.subject import open_subject
from lowzoo.export.network.prototypes import INITIALISER, SIMILARITY
from lowzoo.preprocess.framing import border_colour, by_shorter_side, target_size
from lowzoo.preprocess.input_facts import CROP_MODES, FILTERS, InputFacts
from lowzoo.preprocess.transform import resizes_tall_first, to_uint8_input
from lowzoo.serving.runtime import from_folder
from tests.demo.conftest import word_of
from tests.demo.files import features_file, taught, unit_columns

NAMES = ["mug", "chaise", "犬", '"><b>']
# A file and what the page made of it, for machines without an engine for JavaScript.
MADE = json.loads((Path(__file__).parent / "made_by_page.json").read_text())
PLAIN, TAUGHT = (base64.b64decode(MADE[word]) for word in ("plain", "taught"))
_PREPARE = """
import { prepare } from "./prepare.js";
const answer = given.map(({ height, width, spec, rgba, last }) => {
  const pixels = bytesOf(rgba);
  const strip = (top, rows) => pixels.subarray(top * width * 4, (top + rows) * width * 4);
  return wordOf(prepare(height, width, spec, strip, { channelsLast: last, stripRows: 7 }));
});
"""
_HEAD = """
import { onnxFile } from "./taught.js";
const things = given.names.map((name, i) => ({ name, pictures: Array(given.pictures[i]).fill(0) }));
const answer = wordOf(onnxFile(bytesOf(given.model), given.task, things, given.prototypes.map(floatsOf)));
"""
_SESSION = """
import { sessionText, thingsOf } from "./taught.js";
const each = (change, things) => things.map((thing) => ({
  ...thing, pictures: thing.pictures.map(({ features, small }) => ({ features: change(features), small })),
}));
const answer = (given.texts ?? [sessionText(given.task, each(floatsOf, given.things))]).map((text) => {
  try { return { things: each(wordOf, thingsOf(text, given.task)) }; }
  catch (error) { return { error: error.message }; }
});
"""


def page_spec(facts):
    """What `Subject.task` says of the picture."""
    return {
        "height": facts.input_size[1],
        "width": facts.input_size[2],
        "target": target_size(facts),
        "by_shorter_side": by_shorter_side(facts),
        "crop_mode": facts.crop_mode,
        "interpolation": facts.interpolation,
        "tall_first": resizes_tall_first(),
        "border": border_colour(facts),
    }


def test_pictures_are_prepared_to_the_byte(javascript):
    """Every filter and crop mode, larger and smaller, upright and lying, and a border."""
    random = np.random.default_rng(0)
    given, expected = [], []
    sizes = [(61, 40), (40, 61), (33, 33), (9, 250), (20, 20), (131, 90), (1, 5)]
    for filter_ in FILTERS:
        for mode in CROP_MODES:
            for sides, crop_pct in (((24, 24), 0.9), ((20, 31), 0.875), ((32, 32), 1.0), ((16, 16), 1.3)):
                facts = InputFacts((3, *sides), (0.4, 0.5, 0.6), (0.2, 0.2, 0.2), filter_, crop_pct, mode)
                height, width = sizes[len(given) % len(sizes)]
                image = random.integers(0, 256, (height, width, 3), np.uint8)
                image[: height // 2] = np.where(image[: height // 2] > 127, 255, 0)  # overshoot is clipped
                rgba = np.dstack([image, np.full((height, width, 1), 255, np.uint8)])
                last = len(given) % 2 == 0
                given.append(
                    {"height": height, "width": width, "spec": page_spec(facts), "rgba": word_of(rgba), "last": last}
                )
                wanted = to_uint8_input(image, facts)
                expected.append(wanted if last else wanted.transpose(2, 0, 1))
    found = javascript(_PREPARE, given)
    for what, word, wanted in zip(given, found, expected, strict=True):
        pixels = np.frombuffer(base64.b64decode(word), np.uint8).reshape(wanted.shape)
        np.testing.assert_array_equal(pixels, wanted, err_msg=json.dumps(what["spec"]))


def test_prototypes_and_answers(javascript):
    random = np.random.default_rng(1)
    things = random.normal(size=(3, 4, 16)).astype(np.float32) * 10
    seen = random.normal(size=16).astype(np.float32)
    body = """
    import { nearest, prototype, similarities } from "./learn.js";
    const prototypes = given.things.map((thing) => prototype(thing.map(floatsOf)));
    const cosines = similarities(floatsOf(given.seen), prototypes);
    const answer = { prototypes: prototypes.map(wordOf), cosines, ...nearest(cosines), alone: nearest([0.5]) };
    """
    found = javascript(body, {"things": [[word_of(row) for row in thing] for thing in things], "seen": word_of(seen)})
    wide = things.astype(np.float64)
    means = (wide / np.linalg.norm(wide, axis=2, keepdims=True)).mean(1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ (seen / np.linalg.norm(seen.astype(np.float64)))
    rows = [np.frombuffer(base64.b64decode(word), np.float32) for word in found["prototypes"]]
    np.testing.assert_allclose(rows, means, atol=1e-7)
    np.testing.assert_allclose(found["cosines"], cosines, atol=1e-6)
    best = np.sort(cosines)[::-1]
    assert found["index"] == int(cosines.argmax())
    assert found["margin"] == pytest.approx(best[0] - best[1], abs=1e-6)
    assert found["alone"] == {"index": 0, "margin": None}


def test_features_that_cannot_be_compared(javascript):
    body = """
    import { unit } from "./learn.js";
    const answer = [[0, 0, 0], [NaN, 1, 1], [Infinity, 1, 1]].map((row) => {
      try { unit(row); return "taken"; } catch (error) { return error.message; }
    });
    """
    assert all("nothing that can be compared" in said for said in javascript(body, None))


def test_hashes(javascript):
    lengths = (0, 1, 55, 56, 63, 64, 65, 1000)
    contents = [np.random.default_rng(size).integers(0, 256, size, np.uint8) for size in lengths]
    body = 'import { sha256 } from "./sha256.js";\nconst answer = given.map((word) => sha256(bytesOf(word)));'
    found = javascript(body, [word_of(content) for content in contents])
    assert found == [hashlib.sha256(content.tobytes()).hexdigest() for content in contents]


def by_page(javascript, path, dist, names, prototypes, pictures):
    given = {
        "model": base64.b64encode(path.read_bytes()).decode(),
        "task": open_subject(path).task(from_folder(dist)),
        "names": names,
        "prototypes": [word_of(column) for column in prototypes.T],
        "pictures": pictures,
    }
    return base64.b64decode(javascript(_HEAD, given))


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), ("many", 8, 8, 3)], ids=["one picture", "any number"])
def test_the_page_puts_the_head_into_the_file(tmp_path, javascript, dist, shape):
    """The same message as the onnx package makes, and every field that it does not touch to the byte."""
    path = tmp_path / "rows.onnx"
    if shape[0] == "many":
        features_file(path)
        model = onnx.load(path)
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_param = "many"
        onnx.save(model, path)
    else:
        features_file(path)
    prototypes = unit_columns(6, 4)
    found = onnx.load_from_string(by_page(javascript, path, dist, NAMES, prototypes, [3, 3, 1, 20]))
    wanted = taught(path, NAMES, prototypes, [3, 3, 1, 20], batch=shape[0])
    notes = [{note.key: json_or_text(note.value) for note in model.metadata_props} for model in (found, wanted)]
    assert notes[0] == notes[1]
    assert len(found.metadata_props) == len(notes[0]), "no key stands twice"
    del found.metadata_props[:], wanted.metadata_props[:]
    assert found == wanted
    assert found.graph.output[0].doc_string.startswith("cosine with")
    onnx.checker.check_model(found, full_check=True)


def json_or_text(word):
    try:
        return json.loads(word)
    except ValueError:
        return word


def test_what_the_page_made_once():
    """Bytes that the page wrote, run: where no engine for JavaScript is at hand this is what is known of them."""
    model = onnx.load_from_string(TAUGHT)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(TAUGHT, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), np.uint8)
    (found,) = session.run([SIMILARITY], {"image": pixels})
    features = pixels.astype(np.float64).mean(2)[:, :2].reshape(1, 6)
    np.testing.assert_allclose(found, features / np.linalg.norm(features) @ unit_columns(6, 4), atol=1e-6)
    assert json.loads(session.get_modelmeta().custom_metadata_map["lowzoo.classes"]) == NAMES
    assert [tensor.name for tensor in model.graph.initializer].count(INITIALISER) == 1


def test_the_page_still_makes_the_same_bytes(javascript, tmp_path, dist):
    path = tmp_path / "plain.onnx"
    path.write_bytes(PLAIN)
    assert by_page(javascript, path, dist, NAMES, unit_columns(6, 4), [3, 3, 1, 20]) == TAUGHT


def test_a_damaged_model_is_no_file(javascript, tmp_path, dist):
    content = features_file(tmp_path / "rows.onnx").read_bytes()
    body = """
    import { withHead } from "./onnx.js";
    const head = {
      features: "features", unitFeatures: "u", initialiser: "i", output: "o", meaning: "m", batch: 1,
      dimensions: 1, things: 2, values: [1, 0], notes: {},
    };
    const answer = given.map((word) => {
      try { withHead(bytesOf(word), head); return "made"; } catch (error) { return error.message; }
    });
    """
    cut = [content[:-3], content[: len(content) // 2], b"", b"\xff" * 40, content + content]
    found = javascript(body, [base64.b64encode(part).decode() for part in cut])
    assert found == ["the model's file is damaged"] * len(cut)


@pytest.mark.parametrize(
    ("names", "said"),
    [(["one"], "at least two"), (["a", " a "], "called “a”"), (["a", "  "], "Thing 2 has no name")],
)
def test_names_that_make_no_classifier(javascript, names, said):
    body = """
    import { namesOf } from "./taught.js";
    let answer; try { answer = namesOf(given.map((name) => ({ name }))); } catch (error) { answer = error.message; }
    """
    assert said in javascript(body, names)


def test_a_thing_is_called_by_its_number_on_the_page(javascript):
    """Those without pictures count too, and the error says which name has to be changed."""
    body = """
    import { namesOf } from "./taught.js";
    const answer = given.map((names) => {
      const all = names.map((name) => ({ name }));
      try { return namesOf(all.slice(1), all); } catch (error) { return [error.message, all.indexOf(error.thing)]; }
    });
    """
    empty, twice = javascript(body, [["", "a", ""], ["", "a", "b", "a"]])
    assert empty == ["Thing 3 has no name.", 2]
    assert twice == ["Things 2 and 4 are both called “a”.", 3]


def test_what_could_not_be_loaded_is_not_saved(javascript, session):
    """Saving and loading know one bound."""
    task, things = session
    small, picture = "data:image/jpeg;base64,", things[0]["pictures"][0]
    given = {
        "fits": picture,
        "no JPEG": picture | {"small": "data:,"},
        "too large": picture | {"small": small + "A" * (40_001 - len(small))},
        "just fits": picture | {"small": small + "A" * (40_000 - len(small))},
    }
    body = """
    import { sessionText, thingsOf } from "./taught.js";
    const answer = given.pictures.map(({ features, small }) => {
      const things = [{ name: "mug", pictures: [{ features: floatsOf(features), small }] }];
      try { return thingsOf(sessionText(given.task, things), given.task).length; }
      catch (error) { return error.message; }
    });
    """
    found = dict(zip(given, javascript(body, {"task": task, "pictures": list(given.values())}), strict=True))
    assert found == {
        "fits": 1,
        "no JPEG": "There is more here than a session takes.",
        "too large": "There is more here than a session takes.",
        "just fits": 1,
    }


@pytest.fixture
def session(served):
    task = served.room.subject.task(served.room.runtime)
    features = np.random.default_rng(3).normal(size=(2, 6)).astype(np.float32)
    small = "data:image/jpeg;base64,AAAA"
    things = [
        {"name": "mug", "pictures": [{"features": word_of(row), "small": small} for row in features]},
        {"name": "", "pictures": []},
    ]
    return task, things


def test_a_session_comes_back_to_the_bit(javascript, session):
    task, things = session
    assert javascript(_SESSION, {"task": task, "things": things}) == [{"things": things}]


def changed(document, *path, to):
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return copy


def test_sessions_that_are_none(javascript, session):
    task, things = session
    whole = {
        "schema": "lowzoo.demo_session/1",
        "model": {"name": "x", "sha256": task["model"]["sha256"]},
        "things": things,
    }
    picture = ("things", 0, "pictures", 0)
    zeros, nan = word_of(np.zeros(6, np.float32)), word_of(np.full(6, np.nan, np.float32))
    wrong = {
        "no session": [
            "{",
            "[]",
            "null",
            json.dumps(changed(whole, "schema", to="x")),
            json.dumps(changed(whole, "things", to=1)),
        ],
        "another model": [json.dumps(changed(whole, "model", "sha256", to="0" * 64))],
        "damaged": [
            json.dumps(changed(whole, *where, to=to))
            for where, to in (
                ((*picture, "features"), zeros),
                ((*picture, "features"), nan),
                ((*picture, "features"), word_of(np.ones(7, np.float32))),
                ((*picture, "features"), "not base64"),
                ((*picture, "small"), "https://elsewhere.example/x.jpg"),
                ((*picture, "small"), "data:image/jpeg;base64," + "A" * 50_000),
                (("things", 0, "name"), "x" * 61),
                (("things", 0, "pictures"), things[0]["pictures"] * 20),
                (("things",), things * 20),
            )
        ],
    }
    texts = [json.dumps(whole), *(each for texts in wrong.values() for each in texts)]
    first, *found = javascript(_SESSION, {"task": task, "texts": texts})
    assert "things" in first
    for said, answer in zip([said for said, texts in wrong.items() for _ in texts], found, strict=True):
        assert said in answer.get("error", "taken")
