// What every page says and asks: files with the hash that they should have, what device this is, and messages.

// The browser itself refuses what does not have the hash: a CDN cannot hand out something else.
export async function checked(file) {
  const answer = await fetch(file.url, { integrity: file.integrity, mode: "cors", credentials: "omit" })
    .catch(() => { throw new Error(`${file.name} cannot be fetched, or does not have the hash that it should have`); });
  if (!answer.ok) throw new Error(`${file.name} cannot be fetched (${answer.status})`);
  return answer.arrayBuffer();
}

export async function post(message) {
  const body = JSON.stringify(message);
  for (let tries = 0; ; tries++) {
    const answer = await fetch("report", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (answer.ok) return answer.json();
    if (answer.status !== 429 || tries === 5) throw new Error(`the computer answered ${answer.status}`);
    await new Promise((next) => setTimeout(next, 500 * (tries + 1)));
  }
}

// For a page that is being closed: nobody waits for the answer.
export const postLast = (message) =>
  navigator.sendBeacon("report", new Blob([JSON.stringify(message)], { type: "application/json" }));

export async function webgpu() {
  try {
    const adapter = navigator.gpu && await navigator.gpu.requestAdapter();
    if (!adapter) return null;
    const { vendor = "", architecture = "", description = "" } = adapter.info || {};
    return [vendor, architecture, description].filter(Boolean).join(" ") || "WebGPU";
  } catch { return null; }
}

let battery = null;
export async function charge() {
  try {
    const found = battery || (battery = await navigator.getBattery());
    return { percent: Math.round(100 * found.level), charging: found.charging };
  } catch { return { percent: null, charging: null }; }
}

// What its browser tells of it; `hardware` asks for the GPU and the battery too.
export async function thisDevice({ hardware = true } = {}) {
  const agent = navigator.userAgentData;
  let more = {};
  try { more = await agent.getHighEntropyValues(["model", "platformVersion", "architecture", "fullVersionList"]); } catch { /* not every browser tells */ }
  const brands = (more.fullVersionList || []).filter((row) => !/not.?a.?brand/i.test(row.brand));
  const brand = brands.find((row) => row.brand !== "Chromium") || brands[0];
  return {
    user_agent: navigator.userAgent.slice(0, 400),
    mobile: agent ? agent.mobile : /Android|iPhone|iPad|Mobile/.test(navigator.userAgent),
    model: more.model || null, platform: (agent && agent.platform) || null, platform_version: more.platformVersion || null,
    architecture: more.architecture || null, browser: brand ? `${brand.brand} ${brand.version}` : null,
    cores: navigator.hardwareConcurrency || null, memory_gb: navigator.deviceMemory || null,
    isolated: self.crossOriginIsolated === true, gpu: hardware ? await webgpu() : null,
    battery: hardware ? await charge() : { percent: null, charging: null },
  };
}
