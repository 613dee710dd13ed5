// Prepares pictures and runs the network, so that the page itself never waits.

import { prepare } from "./prepare.js";

// Of the part of a picture that is read at a time: canvases have limits to their sides and to their area.
const MOST_ROWS = 4096, MOST_PIXELS = 4_000_000;

let session, ort, task, canvas, context;

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ id: data.id, done: await (data.load ? load(data.load) : look(data.picture)) });
  } catch (error) {
    if (data.picture) data.picture.close();
    self.postMessage({ id: data.id, failed: String(error && error.message || error).slice(0, 300) });
  }
};

function resizeCanvas(width, height) {
  if (!canvas) {
    canvas = new OffscreenCanvas(width, height);
    context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  } else if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
}

// Some browsers change what a page reads, against fingerprinting: answers from such pixels would be wrong.
function refuseChangedPixels() {
  resizeCanvas(16, 16);
  const made = new ImageData(16, 16);
  for (let i = 0; i < made.data.length; i++) made.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256;
  context.putImageData(made, 0, 0);
  const found = context.getImageData(0, 0, 16, 16).data;
  if (found.some((value, i) => value !== made.data[i])) {
    throw new Error("this browser changes the pixels that a page reads, to protect against fingerprinting; allow this page to read them, or take another browser");
  }
}

async function load({ script, wasm, model, threads, what }) {
  task = what;
  refuseChangedPixels();
  ort = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = false;
  session = await ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: ["wasm"], graphOptimizationLevel: "all", executionMode: "sequential",
  });
  // The first run is slower than the others.
  await features(new Uint8Array(task.input.shape.reduce((product, side) => product * side)));
}

async function features(pixels) {
  const found = await session.run({ [task.input.name]: new ort.Tensor("uint8", pixels, task.input.shape) });
  const values = Float32Array.from(found[task.output.name].data);
  found[task.output.name].dispose();
  if (values.length !== task.output.dimensions || !values.every(Number.isFinite)) {
    throw new Error("the network gives numbers that are none for this picture");
  }
  return values;
}

async function look(picture) {
  const start = performance.now(), { width, height } = picture;
  if (width * height > task.picture.max_pixels) throw new Error(`a picture of ${width} × ${height} pixels is too large`);
  const rows = Math.max(1, Math.min(height, MOST_ROWS, Math.floor(MOST_PIXELS / width)));
  const strip = (top, count) => {
    resizeCanvas(width, rows);
    // What is transparent lies on white, as in lowzoo.
    context.globalCompositeOperation = "source-over";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, count);
    context.drawImage(picture, 0, top, width, count, 0, 0, width, count);
    const { data } = context.getImageData(0, 0, width, count);
    // A canvas that is too large for the browser stays empty, and says nothing.
    if (data[3] !== 255 || data[data.length - 1] !== 255) throw new Error(`this browser cannot read a picture of ${width} × ${height} pixels`);
    return data;
  };
  const pixels = prepare(height, width, task.picture, strip, { channelsLast: task.input.channels_last, stripRows: rows });
  picture.close();
  const prepared = performance.now(), values = await features(pixels);
  return { features: values, prepare_ms: prepared - start, run_ms: performance.now() - prepared };
}
