// What pages ask of the server.

/** Return the answer of the server; what it refuses is thrown in its words. */
async function answered(path, what, signal) {
  const answer = await fetch(path, what && { method: "POST", body: JSON.stringify(what), signal });
  if (answer.ok) return answer;
  throw new Error((await answer.json().catch(() => ({}))).detail ?? `The server answered ${answer.status}.`);
}

export const get = async (path, what) => (await answered(path, what)).json();

/** What is thrown where something takes long, and was not done: ask with `anyway` to have it done. */
export class Large extends Error {}

/** Have a worker do something, and call a function with each line of the answer; that it failed is thrown. */
export async function ask(what, take, signal) {
  const reader = (await answered("/ask", what, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.map(JSON.parse)) {
      if (line.type === "large") throw new Large(line.text);
      if (line.type === "failed") throw new Error(line.text);
      take(line);
    }
  }
}

/** An older run is not cancelled before it has been drawn for so long: dragging would show nothing else. */
export const HOLD_MS = 250;

/** Asks for one thing at a time, of which the newest counts. */
export class Latest {
  #running = null;
  #timer = 0;

  /** Ask for something, as soon as what is under way may be cancelled; `ended` is called when all has been answered. */
  ask(what, take, failed, ended) {
    clearTimeout(this.#timer);
    const wait = (this.#running?.until ?? 0) - performance.now();
    this.#timer = setTimeout(() => this.#start(what, take, failed, ended), wait);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#running?.controller.abort();
    this.#running = null;
  }

  #start(what, take, failed, ended) {
    this.cancel();
    const own = (this.#running = { controller: new AbortController(), until: performance.now() + HOLD_MS });
    ask(what, (line) => { if (this.#running === own) take(line); }, own.controller.signal)
      .catch((error) => { if (this.#running === own) failed(error); })
      .finally(() => { if (this.#running === own) { this.#running = null; ended?.(); } });
  }
}
