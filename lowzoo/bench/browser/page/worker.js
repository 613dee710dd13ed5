// One repeat: a fresh worker loads onnxruntime-web and the model, runs once, warms up and takes its samples.
// It is the protocol of every target; only the clock is coarser here, so runs are grouped until it can tell them apart.

const TYPES = { "tensor(uint8)": ["uint8", Uint8Array], "tensor(float)": ["float32", Float32Array], "tensor(float16)": ["float16", Uint16Array] };
const TICKS_A_SAMPLE = 50;
const MOST_RUNS = 4096;
const MOST_FEATURES = 50000;

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ done: await measure(data) });
  } catch (error) {
    self.postMessage({ failed: String(error && error.message || error).slice(0, 400) });
  }
};

// The smallest step of the clock: browsers make it coarse, the more so where the page is not isolated.
function clockStep() {
  let step = Infinity;
  for (let seen = 0; seen < 5; seen++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    step = Math.min(step, now - start);
  }
  return step;
}

// What is compared with the reference: of feature maps every so many-th number, as a message has its limits.
function spread(outputs) {
  const count = outputs.reduce((sum, values) => sum + values.length, 0);
  const step = Math.max(1, Math.ceil(count / MOST_FEATURES));
  const kept = [];
  let place = 0;
  for (const values of outputs) for (const value of values) if (place++ % step === 0) kept.push(Number(value));
  return kept;
}

async function measure({ backend, threads, protocol, input, model, pixels, script, wasm }) {
  const scriptUrl = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const ort = await import(scriptUrl);
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = false;
  const step = clockStep();
  const [type, Type] = TYPES[input.type];
  const start = performance.now();
  const session = await ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: [backend], graphOptimizationLevel: "all", executionMode: "sequential",
  });
  const loaded = performance.now();
  const feeds = { [session.inputNames[0]]: new ort.Tensor(type, new Type(pixels), input.shape) };
  const run = async () => {
    const given = await session.run(feeds);
    const outputs = [];
    for (const name of session.outputNames) {
      const tensor = given[name];
      outputs.push(tensor.location === "cpu" ? tensor.data : await tensor.getData());
      tensor.dispose();
    }
    return outputs;
  };
  const outputs = await run();
  const first = performance.now();
  const features = spread(outputs);

  let warmups = 0, now = first;
  do { await run(); warmups++; now = performance.now(); } while (now - first < protocol.warmup_s * 1e3);
  // As many runs a sample as the clock needs to tell them apart; finding out how many warms up as well.
  let group = 1;
  for (; group < MOST_RUNS; group *= 2) {
    const before = performance.now();
    for (let runs = 0; runs < group; runs++) await run();
    warmups += group;
    if (performance.now() - before >= TICKS_A_SAMPLE * step) break;
  }

  const samples = [];
  const begin = performance.now();
  const enough = (seconds) => samples.length > 0 && (seconds >= protocol.max_s
    || (samples.length * group >= protocol.min_runs && seconds >= protocol.min_s));
  now = begin;
  while (!enough((now - begin) / 1e3)) {
    const before = performance.now();
    for (let runs = 0; runs < group; runs++) await run();
    now = performance.now();
    // A run that was quicker than those that set the group must not end up as nothing.
    samples.push(Math.max(now - before, step) / group);
  }
  await session.release();
  return {
    load_ms: loaded - start, first_run_ms: first - loaded, warmup_runs: warmups, samples_ms: samples,
    runs_per_sample: group, clock_step_ms: step, features,
  };
}
