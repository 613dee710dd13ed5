// The page: fetches the task, asks one fresh worker after another to measure, draws, and posts what they found.

import { charge, checked, post as postPlain, postLast, thisDevice } from "./device.js";

const at = (id) => document.getElementById(id);
const QUIET_S = 120;  // after which a worker that says nothing is given up

let task, device = null, ended = false;

const post = (message) => postPlain(device ? { ...message, device } : message);

function planned(facts) {
  const plan = [{ backend: "wasm", threads: 1 }];
  const threads = Math.min(4, facts.cores || 1);
  if (facts.isolated && threads > 1) plan.push({ backend: "wasm", threads });
  if (facts.gpu && task.runtime.webgpu.length) plan.push({ backend: "webgpu", threads: 1 });
  return plan;
}

const title = ({ backend, threads }) => backend === "webgpu" ? "WebGPU" : `WASM, ${threads} thread${threads > 1 ? "s" : ""}`;

function worker(message) {
  const made = new Worker("worker.js", { type: "module" });
  let hidden = document.hidden;
  const watch = () => { hidden = hidden || document.hidden; };
  document.addEventListener("visibilitychange", watch);
  return new Promise((done, fail) => {
    const limit = setTimeout(() => fail(new Error("no answer for two minutes")), QUIET_S * 1e3);
    made.onmessage = ({ data }) => { clearTimeout(limit); data.failed ? fail(new Error(data.failed)) : done({ ...data.done, hidden }); };
    made.onerror = (event) => { clearTimeout(limit); fail(new Error(event.message || "the worker failed")); };
    made.postMessage(message);
  }).finally(() => { made.terminate(); document.removeEventListener("visibilitychange", watch); });
}

function percentile(ordered, percent) {
  const place = percent / 100 * (ordered.length - 1), low = Math.floor(place);
  const high = Math.min(low + 1, ordered.length - 1);
  return ordered[low] + (ordered[high] - ordered[low]) * (place - low);
}

const digits = (ms) => ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);

function show(rows) {
  at("results").hidden = false;
  at("rows").replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    const ordered = [...row.samples].sort((a, b) => a - b);
    for (const text of [title(row), digits(percentile(ordered, 50)), digits(percentile(ordered, 90)), digits(row.load_ms)]) {
      line.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return line;
  }));
  at("chart").replaceChildren(drawn(rows));
}

function drawn(rows) {
  const make = (name, facts, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(facts)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const width = 360, band = 58, left = 8, right = 14, height = rows.length * band + 26;
  const most = Math.max(...rows.map((row) => percentile([...row.samples].sort((a, b) => a - b), 99))) * 1.05;
  const x = (ms) => left + (width - left - right) * Math.min(1, ms / most);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": rows.map((row) => `${title(row)}: median ${digits(percentile([...row.samples].sort((a, b) => a - b), 50))} ms`).join("; ") });
  const step = [1, 2, 5].flatMap((unit) => [-3, -2, -1, 0, 1, 2, 3, 4].map((power) => unit * 10 ** power)).sort((a, b) => a - b).find((unit) => most / unit <= 6);
  for (let ms = 0; ms <= most; ms += step) {
    svg.append(make("line", { class: "axis", x1: x(ms), x2: x(ms), y1: 4, y2: height - 20 }));
    svg.append(make("text", { x: x(ms), y: height - 6, "text-anchor": ms ? "middle" : "start" }, String(+ms.toPrecision(3))));
  }
  rows.forEach((row, index) => {
    const top = index * band, ordered = [...row.samples].sort((a, b) => a - b), median = percentile(ordered, 50);
    const every = Math.max(1, Math.floor(row.samples.length / 250));
    svg.append(make("text", { x: left + 4, y: top + 17 }, title(row)));
    row.samples.forEach((ms, run) => {
      if (run % every === 0) svg.append(make("circle", { class: "run", cx: x(ms), cy: top + 26 + (run * 7919) % 23, r: 2 }));
    });
    svg.append(make("line", { class: "median", x1: x(median), x2: x(median), y1: top + 22, y2: top + 53 }));
  });
  return svg;
}

function say(text, mood = "") {
  at("note").textContent = text;
  at("note").className = mood;
}

async function start() {
  at("before").hidden = true;
  at("running").hidden = false;
  at("state").textContent = "Loading the model and onnxruntime-web…";
  const lock = navigator.wakeLock && await navigator.wakeLock.request("screen").catch(() => null);
  const rows = [];
  let failures = 0;
  try {
    const facts = await thisDevice(), plan = planned(facts), total = plan.length * task.protocol.repeats;
    device = (await post({ type: "hello", facts, plan })).device;
    const model = await (await fetch("model")).arrayBuffer(), pixels = await (await fetch("input")).arrayBuffer();
    for (const [place, what] of plan.entries()) {
      const row = { ...what, samples: [], load_ms: 0 };
      try {
        const [script, wasm] = await Promise.all(task.runtime[what.backend].map(checked));
        for (let repeat = 0; repeat < task.protocol.repeats; repeat++) {
          at("state").textContent = `${title(what)}: worker ${repeat + 1} of ${task.protocol.repeats}`;
          at("progress").value = (place * task.protocol.repeats + repeat) / total;
          await post({ type: "progress", plan: place, repeat });
          const found = await worker({ ...what, protocol: task.protocol, input: task.input, model, pixels, script, wasm });
          row.samples.push(...found.samples_ms);
          row.load_ms = found.load_ms;
          await post({ type: "repeat", plan: place, repeat, ...found });
        }
        rows.push(row);
        show(rows);
      } catch (error) {
        failures++;
        await post({ type: "failed", plan: place, reason: String(error.message || error).slice(0, 400) });
      }
    }
    at("progress").value = 1;
    const { agrees } = await post({ type: "finished", battery: await charge() });
    at("running").hidden = true;
    const parts = ["Sent."];
    if (agrees === true) parts.push("The features agree with PyTorch's.");
    if (agrees === false) parts.push("The features do NOT agree with PyTorch's.");
    if (!facts.isolated) parts.push("One thread only and no WebGPU: browsers allow more over https or on this computer.");
    if (failures) parts.push(`${failures} back end${failures > 1 ? "s" : ""} failed; the computer shows why.`);
    say(parts.join(" "), agrees === false || failures ? "bad" : "good");
  } catch (error) {
    at("running").hidden = true;
    say(`${rows.length ? "The figures above stay here, but the" : "The"} computer cannot be reached any more (${error.message || error}).`, "bad");
  } finally {
    ended = true;
    if (lock) lock.release();
    document.body.dataset.state = "ended";
  }
}

async function prepare() {
  task = await (await fetch("task")).json();
  at("model").textContent = task.model.name;
  at("facts").textContent = `${(task.model.size_bytes / 1e6).toFixed(1)} MB${task.model.precision ? `, ${task.model.precision}` : ""}, input ${task.input.shape.join(" × ")}, onnxruntime-web ${task.runtime.version}`;
  at("plan").replaceChildren(...planned(await thisDevice()).map((what) => Object.assign(document.createElement("li"), { textContent: title(what) })));
  at("start").disabled = false;
  say("");
  at("start").addEventListener("click", start, { once: true });
  addEventListener("pagehide", () => {
    if (device && !ended) postLast({ type: "gone", device });
  });
  if (location.hash === "#start") at("start").click();
}

prepare().catch((error) => say(`This page has no task: ${error.message || error}`, "bad"));
