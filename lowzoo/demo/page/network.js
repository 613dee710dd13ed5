// The worker that runs the network: one message at a time, for it sees one picture after the other.

const open = new Map();
let worker, queue = Promise.resolve(), count = 0, stopped = null;

export function startWorker() {
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

export function ask(message, transfer = []) {
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
