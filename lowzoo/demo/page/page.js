// The page: loads the model once, then needs nobody. It keeps things and their pictures, shows the nearest thing, and
// tells the computer how far it is, without which it works as well.

import { meet, tell } from "./computer.js";
import { checked, post, thisDevice } from "./device.js";
import { keep, kept } from "./keep.js";
import { nearest, prototype, similarities, unit } from "./learn.js";
import { ask, startWorker } from "./network.js";
import { decoded, drawSeen, fitted, smallOf } from "./seen.js";
import { onnxFile, sessionText, thingsOf } from "./taught.js";

const at = (id) => document.getElementById(id);
const pause = (ms) => new Promise((next) => setTimeout(next, ms));
const ENOUGH = 3, LAST = 15, KEEP_MS = 500;

let task, model, threads = 1;
let stream = null, camera = "off", downloads = 0, unsaved = false;
let keeping = null, keeps = true;
const times = [];
// What scripts that drive the page read.
export const page = { things: [], last: null, ready: false };
const things = page.things;

function say(text, mood = "") {
  at("note").textContent = text;
  at("note").className = mood;
}
// Where the error is a thing's, its name is what has to be changed.
function complain(error) {
  say(error.message || String(error), "bad");
  if (error.thing) error.thing.card.querySelector(".name").focus();
}

async function look(picture) {
  const found = await ask({ picture }, [picture]);
  times.push(found);
  if (times.length > LAST) times.shift();
  return found.features;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const taught = () => things.filter((thing) => thing.pictures.length);

// Something was taught, named or removed.
function changed() {
  unsaved = true;
  keeping ??= setTimeout(keepNow, KEEP_MS);
}

function keepNow() {
  if (keeping === null) return;
  clearTimeout(keeping);
  keeping = null;
  const now = keep(sessionText(task, things));
  if (keeps && !now) say("This browser does not keep what is taught when the page is loaded again. Save the session.", "bad");
  keeps = now;
}

function learn(thing) {
  thing.prototype = thing.pictures.length ? prototype(thing.pictures.map(({ features }) => features)) : null;
  show(null);
  tell();
}

function refuseMore(thing) {
  if (!things.includes(thing)) throw new Error("That thing was removed before its picture was learned.");
  if (thing.pictures.length >= task.limits.pictures) throw new Error(`A thing takes ${task.limits.pictures} pictures at most.`);
}

async function teach(thing, picture) {
  let small;
  try {
    refuseMore(thing);
    small = smallOf(picture, task.picture);
  } catch (error) {
    picture.close();
    throw error;
  }
  const features = await look(picture);
  unit(features);  // refuses what nothing can be compared with
  refuseMore(thing);  // while the network ran, others may have come in
  thing.pictures.push({ features, small });
  changed();
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
    meter.setAttribute("aria-label", `Thing ${things.indexOf(thing) + 1}: ${cosine === null ? "not compared" : `cosine ${cosine.toFixed(3)}`}`);
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
  part(".name").addEventListener("input", () => { thing.name = part(".name").value; changed(); });
  part(".remove").addEventListener("click", () => {
    if (thing.pictures.length && !confirm(`Remove ${titleOf(thing)} with its pictures?`)) return;
    const place = things.indexOf(thing);
    things.splice(place, 1);
    card.remove();
    changed();
    number();
    show(null);
    change();
    const next = things[Math.min(place, things.length - 1)];
    (next ? next.card.querySelector(".remove") : at("add")).focus({ preventScroll: true });
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

// Everything that belongs to a thing says to which, also after one was removed.
function number() {
  things.forEach(({ card }, i) => {
    const label = (part, text) => part.setAttribute("aria-label", text), thing = `thing ${i + 1}`;
    const part = (word) => card.querySelector(word);
    part(".name").placeholder = `Name of ${thing}`;
    label(card, `Thing ${i + 1}`);
    label(part(".name"), `Name of ${thing}`);
    label(part(".remove"), `Remove ${thing}`);
    label(part(".shoot"), `Photograph ${thing}`);
    label(part(".taken"), `Photograph ${thing}`);
    label(part(".chosen"), `Choose pictures of ${thing}`);
    card.querySelectorAll(".pictures button").forEach((button, j) => label(button, `Remove picture ${j + 1} of ${thing}`));
  });
}

function draw(thing) {
  const place = thing.card.querySelector(".pictures"), focused = [...place.children].indexOf(document.activeElement);
  const made = thing.pictures.map((picture) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(Object.assign(document.createElement("img"), { src: picture.small, alt: "" }));
    button.addEventListener("click", () => {
      if (!confirm("Remove this picture?")) return;
      thing.pictures.splice(thing.pictures.indexOf(picture), 1);
      changed();
      draw(thing);
      learn(thing);
    });
    return button;
  });
  while (made.length < ENOUGH) made.push(Object.assign(document.createElement("span"), { className: "slot" }));
  place.replaceChildren(...made);
  number();
  if (focused < 0) return;
  const last = thing.pictures.length - 1;
  const next = last < 0 ? thing.card.querySelector(camera === "live" ? ".shoot" : ".taken") : made[Math.min(focused, last)];
  next.focus({ preventScroll: true });
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

const stopTracks = (some) => { for (const track of some.getTracks()) track.stop(); };

// A camera whose picture is there; one that shows nothing is let go again.
async function openCamera(video) {
  const opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
  try {
    video.srcObject = opened;
    await video.play();
    if (opened.getVideoTracks()[0].readyState === "ended") throw new DOMException("", "NotReadableError");
  } catch (error) {
    stopTracks(opened);
    video.srcObject = null;
    throw error.name === "NotAllowedError" ? new DOMException("", "NotReadableError") : error;
  }
  return opened;
}

async function startCamera() {
  const video = at("camera"), focused = document.activeElement === at("start");
  let lock = null;
  at("start").disabled = true;
  try {
    stream = await openCamera(video);
  } catch (error) {
    camera = ["NotFoundError", "OverconstrainedError"].includes(error.name) ? "none" : "refused";
    const why = camera === "none" ? "This device has no camera that a page may use." : error.name === "NotAllowedError" ? "The camera was not allowed." : `The camera cannot be used (${error.name}).`;
    say(`${why} Take or choose pictures instead.`, "bad");
    change();
    return;
  } finally {
    at("start").disabled = false;
  }
  const mine = stream;
  mine.getVideoTracks()[0].addEventListener("ended", () => { if (stream === mine) stopCamera("The camera has ended."); });
  // Only what the network sees is shown.
  video.style.objectFit = { squash: "fill", border: "contain" }[task.picture.crop_mode] || "cover";
  video.style.transform = `scale(${task.picture.target[0] / task.picture.height})`;
  at("still").hidden = true;
  at("empty").hidden = true;
  camera = "live";
  say("");
  change();
  if (focused) at("stop").focus({ preventScroll: true });
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
  const focused = document.activeElement === at("stop");
  stopTracks(stream);
  stream = null;
  at("camera").srcObject = null;
  camera = "off";
  at("empty").hidden = false;
  show(null);
  say(text);
  change();
  if (focused) at("start").focus({ preventScroll: true });
}

async function point(file) {
  const picture = await decoded(file), still = at("still");
  drawSeen(fitted(still, 480, task.picture), picture, task.picture);
  still.hidden = false;
  at("empty").hidden = true;
  at("spoken").textContent = "";
  show(null);
  const features = await look(picture);
  if (taught().length) say(""); else say("Teach at least one thing first.");
  show(features);
  // Of the camera's answers, several a second, nothing is read out.
  if (taught().length) at("spoken").textContent = [at("name").textContent, at("margin").textContent].filter(Boolean).join(", ");
  tell();
}

function give(content, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const onnxBytes = () => onnxFile(model, task, taught(), taught().map((thing) => thing.prototype), things);

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
  if (unsaved && !confirm("Load this session in place of what was taught here and is not saved?")) return;
  for (const thing of things.splice(0)) thing.card.remove();
  for (const thing of found) learn(addThing(thing));
  show(null);
  change();
  changed();
  unsaved = false;
  say(`${found.length} thing${found.length === 1 ? "" : "s"} loaded.`, "good");
}

// What this tab has kept, of this very model: whether there was something.
function restore() {
  let found = [];
  try { found = thingsOf(kept() ?? "", task); } catch { /* nothing, or another model's */ }
  if (!found.some((thing) => thing.name || thing.pictures.length)) return false;
  for (const thing of found) learn(addThing(thing));
  unsaved = true;
  return true;
}

// How far the page is, for the computer that shows the link.
const state = () => ({
  things: taught().length, camera, downloads,
  pictures: things.reduce((sum, thing) => sum + thing.pictures.length, 0),
  ms: times.length ? median(times.map((time) => time.run_ms + time.prepare_ms)) : null,
});

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
  fitted(at("still"), 480, task.picture);
  at("view").style.setProperty("--ratio", task.picture.width / task.picture.height);
  if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) camera = "none";
  const restored = restore();
  if (!restored) for (let i = 0; i < 3; i++) addThing();
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
  addEventListener("beforeunload", (event) => {
    if (!unsaved) return;
    event.preventDefault();
    event.returnValue = true;  // what older browsers look at
  });
  // The last that a page hears before its tab is put away.
  document.addEventListener("visibilitychange", () => { if (document.hidden) keepNow(); });
  addEventListener("pagehide", keepNow);
  at("work").hidden = false;
  say([
    restored ? "What was taught in this tab is back." : "",
    camera === "none" ? "No live camera here: browsers give it to pages over https or on the computer itself. Take or choose pictures instead." : "",
  ].filter(Boolean).join(" "));
  page.ready = true;
  document.body.dataset.state = "ready";
  meet({ facts, threads }, state, at("line"));
}

prepare().catch(complain);
