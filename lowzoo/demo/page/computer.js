// What the computer that shows the link is told: that the page is there, and how far it is. What the page does never
// waits for this, and works as well without.

import { post, postLast } from "./device.js";

const STATE_MS = 1000, ALIVE_MS = 20_000;
let hello = null, stateOf = null, line = null;
let phone = null, joining = false, told = "", toldAt = 0, telling = false;

// facts: what is said of the device and the page; state: gives what is said of how far it is; where: shows what fails
export function meet(facts, state, where) {
  [hello, stateOf, line] = [{ type: "hello", ...facts }, state, where];
  addEventListener("pagehide", () => { if (phone) postLast({ type: "gone", phone }); phone = null; });
  // A browser may keep a page that was left, and show it again.
  addEventListener("pageshow", (event) => { if (event.persisted) join(); });
  setInterval(() => { if (phone) tell(); else join(); }, ALIVE_MS / 2);
  join();
}

async function join() {
  if (joining) return;
  joining = true;
  told = "";
  try {
    ({ phone } = await post(hello));
    line.hidden = true;
  } catch (error) { goOnWithout(error); }
  joining = false;
  tell();
}

export async function tell() {
  if (!phone || telling) return;
  telling = true;
  await new Promise((next) => setTimeout(next, STATE_MS));
  telling = false;
  if (!phone) return;
  const state = { type: "state", phone, ...stateOf() }, key = JSON.stringify({ ...state, ms: null });
  if (key === told && Date.now() - toldAt < ALIVE_MS) return;
  try {
    await post(state);
    told = key;
    toldAt = Date.now();
    line.hidden = true;
  } catch (error) {
    // The page was silent for so long that its place was given away: it joins again.
    if (/answered 409/.test(error.message) && phone === state.phone) {
      phone = null;
      await join();
    } else goOnWithout(error);
  }
}

function goOnWithout(error) {
  const answered = /answered \d+/.exec(error.message);
  line.textContent = `The computer that showed the link ${answered ? `takes no word from this page (it ${answered[0]})` : "is out of reach"}. This page goes on without it.`;
  line.hidden = false;
}
