// The session, kept in this tab until it is closed: neither a reload nor a browser that takes a tab's memory away loses
// what was taught. No other page and no server sees it.

const KEY = "lowzoo.demo_session";

// Whether it was kept: a browser may have too little room for it, or keep nothing at all.
export function keep(text) {
  try {
    sessionStorage.setItem(KEY, text);
    return true;
  } catch {
    forget();  // what was kept before is not what is there now
    return false;
  }
}

function forget() {
  try { sessionStorage.removeItem(KEY); } catch { /* it keeps nothing */ }
}

// What was kept, or null.
export function kept() {
  try { return sessionStorage.getItem(KEY); } catch { return null; }
}
