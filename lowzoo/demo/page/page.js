// The page: loads the model once, then needs nobody. It keeps things and their pictures, shows the nearest thing, and
// tells the computer how far it is, without which it works as well.

import { checked, post, postLast, thisDevice } from "./device.js";
import { frame } from "./prepare.js";
import { nearest, prototype, similarities, unit } from "./learn.js";
import { onnxFile, sessionText, thingsOf } from "./taught.js";

const at = (id) => document.getElementById(id);
const pause = (ms) => new Promise((next) => setTimeout(next, ms));
const SMALL = 96, ENOUGH = 3, LAST = 15, STATE_MS = 1000, ALIVE_MS = 20_000;

let task, model, worker, threads = 1;
let stream = null, camera = "off", downloads = 0, unsaved = false;
let phone = null, told = "", toldAt = 0, telling = false;
const times = [];
// What scripts that drive the page read.
export const page = { things: [], last: null, ready: false };
const things = page.things;

function say(text, mood = "") {
  at("note").textContent = text;
  at("note").className = mood;
}
const complain = (error) => say(error.message || String(error), "bad");

// One message at a time: the network runs one picture after the other.
let queue = Promise.resolve(), count = 0, stopped = null;
const open = new Map();
function ask(message, transfer = []) {
  const send = () => new Promise((done, fail) => {
    if (stopped) return fail(stopped);
    const id = ++count;
    open.set(id, { done, fail });
    worker.postMessage({ ...message, id }, transfer);
  });
  const answer = queue.then(send);
  queue = answer.catch(() => {});
  return answer;
}

function startWorker() {
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data: { id, done, failed } }) => {
    const asked = open.get(id);
    open.delete(id);
    failed === undefined ? asked.done(done) : asked.fail(new Error(failed));
  };
  worker.onerror = (event) => {
    stopped = new Error(`The network has stopped (${event.message || "no reason given"}). Save the session and load the page again.`);
    for (const asked of open.values()) asked.fail(stopped);
    open.clear();
  };
}

async function look(picture) {
  const found = await ask({ picture }, [picture]);
  times.push(found);
  if (times.length > LAST) times.shift();
  return found.features;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const taught = () => things.filter((thing) => thing.pictures.length);

// What the network sees of a picture, drawn as large as a canvas is.
function drawSeen(canvas, picture) {
  const { resized, top, left } = frame(picture.height, picture.width, task.picture);
  const by = canvas.height / task.picture.height, context = canvas.getContext("2d");
  context.fillStyle = `rgb(${task.picture.border.join(" ")})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, -left * by, -top * by, resized[1] * by, resized[0] * by);
}

function fitted(canvas, height) {
  canvas.height = height;
  canvas.width = Math.max(1, Math.round(height * task.picture.width / task.picture.height));
  return canvas;
}

async function decoded(file) {
  try {
    // As lowzoo reads pictures: turned as their camera noted, their numbers as they are stored.
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`“${file.name.slice(0, 60)}” cannot be read as a picture by this browser.`);
  }
}

function learn(thing) {
  thing.prototype = thing.pictures.length ? prototype(thing.pictures.map(({ features }) => features)) : null;
  show(null);
  tell();
}

async function teach(thing, picture) {
  if (thing.pictures.length >= task.limits.pictures) {
    picture.close();
    throw new Error(`A thing takes ${task.limits.pictures} pictures at most.`);
  }
  const canvas = fitted(document.createElement("canvas"), SMALL);
  drawSeen(canvas, picture);
  const small = canvas.toDataURL("image/jpeg", 0.8), features = await look(picture);
  unit(features);  // refuses what nothing can be compared with
  thing.pictures.push({ features, small });
  unsaved = true;
  draw(thing);
  learn(thing);
}

async function teachFiles(thing, files) {
  const wrong = [];
  for (const file of files) {
    try { await teach(thing, await decoded(file)); } catch (error) { wrong.push(error.message); }
  }
  if (wrong.length) throw new Error(wrong.length === 1 ? wrong[0] : `${wrong.length} of ${files.length} pictures were left out. ${wrong[0]}`);
  say("");
}

// Cosines with what was taught, and the nearest; nothing for null.
function show(features) {
  const known = taught(), cosines = features && known.length ? similarities(features, known.map((thing) => thing.prototype)) : null;
  const found = cosines && nearest(cosines);
  page.last = cosines && { cosines, features, index: things.indexOf(known[found.index]), margin: found.margin };
  for (const thing of things) {
    const place = known.indexOf(thing), cosine = cosines && place >= 0 ? cosines[place] : null;
    thing.card.classList.toggle("nearest", found !== null && place === found.index && known.length > 1);
    const meter = thing.card.querySelector(".meter");
    meter.firstElementChild.style.width = `${cosine === null ? 0 : 100 * Math.max(0, cosine)}%`;
    meter.setAttribute("aria-label", cosine === null ? "not compared" : `cosine ${cosine.toFixed(3)}`);
  }
  at("answer").hidden = !found;
  if (!found) return;
  at("empty").hidden = true;
  at("name").textContent = known.length > 1 ? titleOf(known[found.index]) : "Teach a second thing";
  at("margin").textContent = found.margin === null ? "" : `margin ${found.margin.toFixed(3)}`;
  const run = median(times.map((time) => time.run_ms)), prepare = median(times.map((time) => time.prepare_ms));
  at("speed").textContent = `${Math.round(run + prepare)} ms a picture: network ${Math.round(run)}, preparing ${Math.round(prepare)}`;
}

const titleOf = (thing) => thing.name.trim() || `thing ${things.indexOf(thing) + 1}`;

function addThing({ name = "", pictures = [] } = {}) {
  const card = at("card").content.firstElementChild.cloneNode(true), thing = { name, pictures, prototype: null, card };
  const part = (word) => card.querySelector(word);
  things.push(thing);
  part(".name").value = name;
  part(".name").placeholder = `Name of thing ${things.length}`;
  part(".name").addEventListener("input", () => { thing.name = part(".name").value; unsaved = true; });
  part(".remove").addEventListener("click", () => {
    if (thing.pictures.length && !confirm(`Remove ${titleOf(thing)} with its pictures?`)) return;
    things.splice(things.indexOf(thing), 1);
    card.remove();
    show(null);
    change();
  });
  part(".shoot").addEventListener("click", async () => {
    try { await teach(thing, await createImageBitmap(at("camera"))); } catch (error) { complain(error); }
  });
  for (const input of [part(".taken"), part(".chosen")]) {
    input.addEventListener("change", async () => {
      card.classList.add("busy");
      try { await teachFiles(thing, [...input.files]); } catch (error) { complain(error); }
      input.value = "";
      card.classList.remove("busy");
    });
  }
  at("things").append(card);
  draw(thing);
  change();
  return thing;
}

function draw(thing) {
  const made = thing.pictures.map((picture, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Remove picture ${i + 1}`);
    button.append(Object.assign(document.createElement("img"), { src: picture.small, alt: "" }));
    button.addEventListener("click", () => {
      if (!confirm("Remove this picture?")) return;
      thing.pictures.splice(thing.pictures.indexOf(picture), 1);
      unsaved = true;
      draw(thing);
      learn(thing);
    });
    return button;
  });
  while (made.length < ENOUGH) made.push(Object.assign(document.createElement("span"), { className: "slot" }));
  thing.card.querySelector(".pictures").replaceChildren(...made);
}

// Buttons follow what there is.
function change() {
  const live = camera === "live";
  document.body.classList.toggle("live", live);
  at("add").hidden = things.length >= task.limits.things;
  at("camera").hidden = !live;
  at("start").hidden = live || camera === "none";
  at("stop").hidden = !live;
  at("point").hidden = live;
  for (const { card } of things) {
    card.querySelector(".shoot").hidden = !live;
    card.querySelector(".take").hidden = live;
  }
  tell();
}

async function startCamera() {
  let lock = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
  } catch (error) {
    camera = ["NotFoundError", "OverconstrainedError"].includes(error.name) ? "none" : "refused";
    const why = camera === "none" ? "This device has no camera that a page may use." : error.name === "NotAllowedError" ? "The camera was not allowed." : `The camera cannot be used (${error.name}).`;
    say(`${why} Take or choose pictures instead.`, "bad");
    change();
    return;
  }
  const mine = stream, video = at("camera");
  mine.getVideoTracks()[0].addEventListener("ended", () => { if (stream === mine) stopCamera("The camera has ended."); });
  video.srcObject = mine;
  await video.play();
  // Only what the network sees is shown.
  video.style.objectFit = { squash: "fill", border: "contain" }[task.picture.crop_mode] || "cover";
  video.style.transform = `scale(${task.picture.target[0] / task.picture.height})`;
  at("still").hidden = true;
  at("empty").hidden = true;
  camera = "live";
  say("");
  change();
  try { lock = await navigator.wakeLock.request("screen"); } catch { /* not everywhere */ }
  while (stream === mine) {
    if (document.hidden || !taught().length || video.readyState < 2) {
      await pause(150);
      continue;
    }
    try {
      const features = await look(await createImageBitmap(video));
      if (stream === mine) show(features);
    } catch (error) {
      complain(error);
      await pause(1000);
    }
    await pause(0);  // so that the page itself is served as well
  }
  if (lock) lock.release();
}

function stopCamera(text = "") {
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  at("camera").srcObject = null;
  camera = "off";
  at("empty").hidden = false;
  show(null);
  say(text);
  change();
}

async function point(file) {
  const picture = await decoded(file), still = at("still");
  drawSeen(fitted(still, 480), picture);
  still.hidden = false;
  at("empty").hidden = true;
  show(null);
  const features = await look(picture);
  if (taught().length) say(""); else say("Teach at least one thing first.");
  show(features);
  tell();
}

function give(content, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const onnxBytes = () => onnxFile(model, task, taught(), taught().map((thing) => thing.prototype));

function download() {
  const left = things.length - taught().length;
  give(onnxBytes(), "application/octet-stream", "lowzoo-taught.onnx");
  downloads++;
  say(`The file names ${taught().length} things${left ? `; ${left} without pictures ${left > 1 ? "are" : "is"} left out` : ""}. Try it: lowzoo check lowzoo-taught.onnx`, "good");
  tell();
}

async function loadSession(file) {
  if (file.size > 50e6) throw new Error("That file is too large for a session of this page.");
  const found = thingsOf(await file.text(), task);
  for (const thing of things.splice(0)) thing.card.remove();
  for (const thing of found) learn(addThing(thing));
  unsaved = false;
  say(`${found.length} thing${found.length === 1 ? "" : "s"} loaded.`, "good");
}

// How far the page is; what it does never waits for this.
async function tell() {
  if (!phone || telling) return;
  telling = true;
  await pause(STATE_MS);
  const state = {
    type: "state", phone, things: taught().length, camera, downloads,
    pictures: things.reduce((sum, thing) => sum + thing.pictures.length, 0),
    ms: times.length ? median(times.map((time) => time.run_ms + time.prepare_ms)) : null,
  };
  const key = JSON.stringify({ ...state, ms: null });
  telling = false;
  if (key === told && Date.now() - toldAt < ALIVE_MS) return;
  try {
    await post(state);
    told = key;
    toldAt = Date.now();
    at("line").hidden = true;
  } catch (error) { withoutComputer(error); }
}

function withoutComputer(error) {
  const answered = /answered \d+/.exec(error.message);
  at("line").textContent = `The computer that showed the link ${answered ? `takes no word from this page (it ${answered[0]})` : "is out of reach"}. This page goes on without it.`;
  at("line").hidden = false;
}

async function join(facts) {
  told = "";
  try { phone = (await post({ type: "hello", facts, threads })).phone; } catch (error) { withoutComputer(error); }
  tell();
}

async function prepare() {
  const facts = await thisDevice({ hardware: false });
  try {
    task = await (await fetch("task")).json();
    threads = facts.isolated ? Math.max(1, Math.min(4, facts.cores || 1)) : 1;
    at("facts").textContent = `${task.model.name}, ${(task.model.size_bytes / 1e6).toFixed(1)} MB, ${task.model.precision || "fp32"}; onnxruntime-web ${task.runtime.version}, ${threads} thread${threads > 1 ? "s" : ""}`;
    say(`Loading the model (${(task.model.size_bytes / 1e6).toFixed(1)} MB) and onnxruntime-web…`);
    const [script, wasm] = await Promise.all(task.runtime.wasm.map(checked));
    model = new Uint8Array(await checked(task.model.file));
    startWorker();
    await ask({ load: { script, wasm, model, threads, what: task } });
  } catch (error) {
    complain(new Error(`This page cannot start: ${error.message || error}`));
    document.body.dataset.state = "failed";
    await post({ type: "failed", facts, reason: String(error.message || error).slice(0, 400) }).catch(() => {});
    return;
  }
  fitted(at("still"), 480);
  at("view").style.aspectRatio = `${task.picture.width} / ${task.picture.height}`;
  if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) camera = "none";
  for (let i = 0; i < 3; i++) addThing();
  at("start").addEventListener("click", startCamera);
  at("stop").addEventListener("click", () => stopCamera());
  at("add").addEventListener("click", () => addThing().card.querySelector(".name").focus());
  at("pointed").addEventListener("change", async () => {
    const [file] = at("pointed").files;
    try { if (file) await point(file); } catch (error) { complain(error); }
    at("pointed").value = "";
  });
  at("download").addEventListener("click", () => { try { download(); } catch (error) { complain(error); } });
  at("save").addEventListener("click", () => {
    give(sessionText(task, things), "application/json", "lowzoo-session.json");
    unsaved = false;
  });
  at("load").addEventListener("change", async () => {
    const [file] = at("load").files;
    try { if (file) await loadSession(file); } catch (error) { complain(error); }
    at("load").value = "";
  });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  addEventListener("pagehide", () => { if (phone) postLast({ type: "gone", phone }); phone = null; });
  // A browser may keep a page that was left, and show it again.
  addEventListener("pageshow", (event) => { if (event.persisted) join(facts); });
  at("work").hidden = false;
  say(camera === "none" ? "No live camera here: browsers give it to pages over https or on the computer itself. Take or choose pictures instead." : "");
  page.ready = true;
  document.body.dataset.state = "ready";
  join(facts);
  setInterval(tell, ALIVE_MS / 2);
}

prepare();
