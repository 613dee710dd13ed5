// What leaves the page by the person's hand alone: the ONNX file, and the session as JSON.

import { sideBySide } from "./learn.js";
import { withHead } from "./onnx.js";
import { sha256 } from "./sha256.js";

const SCHEMA = "lowzoo.demo_session/1";
const MOST_NAME = 60, MOST_SMALL = 40_000;

// A small picture as a session takes it.
export const isSmall = (small) => typeof small === "string" && small.startsWith("data:image/jpeg;base64,") && small.length <= MOST_SMALL;

// The names as the file gets them; what is wrong with them is said, by the number that a thing has among `all`.
export function namesOf(things, all = things) {
  const names = things.map((thing) => thing.name.trim());
  const wrong = (place, text) => Object.assign(new Error(text), { thing: things[place] });
  if (names.length < 2) throw new Error("Teach at least two things.");
  const empty = names.findIndex((name) => !name);
  if (empty >= 0) throw wrong(empty, `Thing ${all.indexOf(things[empty]) + 1} has no name.`);
  const again = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (again >= 0) {
    const [first, second] = [names.indexOf(names[again]), again].map((place) => all.indexOf(things[place]) + 1);
    throw wrong(again, `Things ${first} and ${second} are both called “${names[again]}”.`);
  }
  return names;
}

// One file: backbone, head and names. `things` are those of `all` that were taught, `prototypes` theirs.
export function onnxFile(model, task, things, prototypes, all = things) {
  const names = namesOf(things, all), values = sideBySide(prototypes);
  const bytes = new Uint8Array(4 * values.length), view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return withHead(model, {
    features: task.output.name,
    unitFeatures: task.head.unit_features,
    initialiser: task.head.initialiser,
    output: task.head.output,
    meaning: task.head.meaning,
    batch: task.output.batch,
    dimensions: task.output.dimensions,
    things: names.length,
    values,
    notes: {
      ...task.head.notes,
      "lowzoo.source": JSON.stringify({ ...task.head.source, head_sha256: sha256(bytes) }),
      "lowzoo.classes": JSON.stringify(names),
      "lowzoo.taught": JSON.stringify({ pictures: things.map((thing) => thing.pictures.length) }),
    },
  });
}

function toBase64(values) {
  const bytes = new Uint8Array(4 * values.length), view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return btoa(String.fromCharCode(...bytes));
}

function fromBase64(word) {
  const letters = atob(word), view = new DataView(new ArrayBuffer(letters.length));
  for (let i = 0; i < letters.length; i++) view.setUint8(i, letters.charCodeAt(i));
  return Float32Array.from({ length: letters.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

// Features are kept to the bit, and with each a small picture. What would not be loaded again is refused here.
export function sessionText(task, things) {
  const { things: most, pictures } = task.limits;
  if (things.length > most || things.some((thing) => thing.name.length > MOST_NAME || thing.pictures.length > pictures || !thing.pictures.every(({ small }) => isSmall(small)))) {
    throw new Error("There is more here than a session takes.");
  }
  return JSON.stringify({
    schema: SCHEMA,
    model: { name: task.model.name, revision: task.model.revision, sha256: task.model.sha256 },
    things: things.map((thing) => ({
      name: thing.name,
      pictures: thing.pictures.map(({ features, small }) => ({ features: toBase64(features), small })),
    })),
  });
}

// The things of a session, checked field by field: a file may be anybody's.
export function thingsOf(content, task) {
  let session;
  try { session = JSON.parse(content); } catch { throw new Error("That file is no session of this page."); }
  if (!session || session.schema !== SCHEMA || !session.model || !Array.isArray(session.things)) throw new Error("That file is no session of this page.");
  if (session.model.sha256 !== task.model.sha256) {
    throw new Error(`That session was taught with another model (${String(session.model.name).slice(0, 80)}).`);
  }
  const { things, pictures } = task.limits;
  const wrong = new Error("That session is damaged.");
  if (session.things.length > things) throw wrong;
  return session.things.map((thing) => {
    if (!thing || typeof thing.name !== "string" || thing.name.length > MOST_NAME || !Array.isArray(thing.pictures) || thing.pictures.length > pictures) throw wrong;
    return {
      name: thing.name,
      pictures: thing.pictures.map((picture) => {
        let features;
        try { features = fromBase64(picture.features); } catch { throw wrong; }
        if (features.length !== task.output.dimensions || !features.every(Number.isFinite) || !features.some((value) => value !== 0)) throw wrong;
        if (!isSmall(picture.small)) throw wrong;
        return { features, small: picture.small };
      }),
    };
  });
}
