// What is known of a run so far, and what there is to say of it. Pure.

import { clock, count } from "./units.js";

const QUANTILES = ["p50", "p99"]; // they do not add up

export const WAITS = ["turn", "backoff", "rate_limit", "circuit_breaker", "quiet_hours"];

const WORDS = {
  turn: "for a slot or a quota", backoff: "between retries", rate_limit: "for the rate limit",
  circuit_breaker: "behind the breaker", quiet_hours: "for the end of quiet hours",
};

export class Run {
  constructor(begin) {
    Object.assign(this, { begin, channels: begin.channels, width: 0, length: 0, rows: {}, transitions: [], spans: {}, done: null, breaches: [], broke: [], list: begin.list });
  }

  /** Take in a line of what a worker tells of the run. */
  take(line) {
    if (line.type === "frame") this.frame(line);
    else Object.assign(this, line.type === "done" ? { done: line, spans: {} } : { breaches: line.breaches, broke: line.events }, { list: line.list });
  }

  /** Take in a frame: rows that have changed, from a bucket on. */
  frame(frame) {
    if (frame.width_s !== this.width) Object.assign(this, { rows: {}, length: 0, width: frame.width_s });
    this.spans = {};
    for (const [channel, rows] of Object.entries(frame.rows)) {
      const own = (this.rows[channel] ??= {});
      for (const [name, values] of Object.entries(rows)) {
        const row = (own[name] ??= []);
        for (let at = 0; at < values.length; at++) row[frame.from + at] = values[at];
      }
    }
    this.length = Math.max(this.length, frame.to);
    this.transitions.push(...frame.transitions);
  }

  get end() { return this.done ? this.done.end_s : Math.max(this.begin.duration_s, this.length * this.width); }

  bucket(at) { return Math.max(0, Math.min(this.length - 1, Math.floor(at / this.width))); }

  /** Return the values of a name over time at a place: "email", "email@3" for node 3 alone, "@3" or "" for all channels. */
  values(name, place) {
    if (QUANTILES.includes(name)) return this.rows[place]?.[name] ?? [];
    const sum = new Float64Array(this.length);
    for (const each of this.places(place)) {
      const row = this.rows[each]?.[name] ?? [];
      for (let at = 0; at < this.length; at++) sum[at] += row[at] ?? 0;
    }
    return sum;
  }

  /** Return a value at an instant; null where there is none. */
  value(name, place, at) { return this.values(name, place)[this.bucket(at)] ?? null; }

  /** Return the place of each channel that a place is of. */
  places(place) { return /^(@|$)/.test(place) ? this.channels.map((each) => each + place) : [place]; }

  /** Return the spans of a breaker: state, from, to. Of several hosts or nodes the most shut counts. */
  states(breaker) { return (this.spans[breaker] ??= this.#states(breaker)); }

  #states(breaker) {
    const spans = [], places = new Map();
    let state = this.begin.breakers[breaker], from = 0;
    const upTo = Math.max(this.length * this.width, this.done?.end_s ?? 0);
    for (const each of this.transitions) {
      if (each.breaker !== breaker) continue;
      places.set(each.host, each.to);
      const shown = SHUT_FIRST.find((one) => [...places.values()].includes(one)) ?? each.to;
      if (shown === state) continue;
      spans.push({ state, from, to: each.at });
      [state, from] = [shown, each.at];
    }
    spans.push({ state, from, to: upTo });
    return spans;
  }

  /** Return what happened at a place, in order: each with its kind, time and text. */
  events(place) {
    const first = this.values("dead", place).findIndex((each) => each > 0), breakers = breakersAt(this, place);
    const transitions = this.transitions.filter(({ breaker }) => breakers.includes(breaker));
    const letters = first < 0 ? [] : [{ at: first * this.width, kind: "dead", text: "the first dead letter" }];
    return [...this.begin.events, ...transitions, ...letters, ...this.broke].sort((one, other) => one.at - other.at);
  }
}

/** Return the spans of a curve, of which each has its first and last place, between which there are values. */
export function pieces(values, first, last) {
  const found = [];
  for (let at = first; at <= last; at++) {
    if (values[at] === null || values[at] === undefined) continue;
    if (found.at(-1)?.[1] === at - 1) found.at(-1)[1] = at; else found.push([at, at]);
  }
  return found;
}

const SHUT_FIRST = ["forced-open", "open", "half-open"];

/** Return the next event of a kind after an instant, or the one before it; undefined if there is none. */
export function jump(events, kind, at, forward) {
  const fits = events.filter((each) => (kind === "any" || each.kind === kind));
  return forward ? fits.find((each) => each.at > at + 1e-6) : fits.findLast((each) => each.at < at - 1e-6);
}

/** Return the names of the breakers at a place, of which email/backup@3 is one at email@3. */
export function breakersAt(run, place) {
  const [channel, node] = place.split("@");
  return Object.keys(run.begin.breakers).filter((name) => (!channel || name.split(/[/@]/)[0] === channel) && (!node || name.endsWith(`@${node}`)));
}

/** Return how the breakers at a place stand when a bucket ends, as what waits is counted then: as the most shut of them. */
export function shut(run, place, at) {
  const end = (run.bucket(at) + 1) * run.width;
  const states = breakersAt(run, place).map((each) => run.states(each).findLast((span) => span.from < end)?.state);
  return SHUT_FIRST.find((state) => states.includes(state)) ?? "closed";
}

/** Return what happens at a place and an instant, in sentences. */
export function story(run, place, at) {
  const said = [], breakers = breakersAt(run, place);
  for (const fault of run.begin.faults) {
    const now = fault.spans.find(([from, to]) => from <= at && at < to);
    if (!now) continue;
    const end = now[1] < run.begin.duration_s ? `until ${clock(now[1], true)}` : "to the end";
    said.push(`${fault.text}, ${end}.`);
  }
  const notClosed = breakers.map((name) => ({ name, ...run.states(name).find((each) => each.from <= at && at < each.to) }))
    .filter(({ state }) => SHUT_FIRST.includes(state));
  const states = [...new Set(notClosed.map(({ state }) => state))].join(" or ");
  if (notClosed.length > 1) said.push(`${notClosed.length} of ${breakers.length} breakers are ${states}.`);
  else for (const { name, state, from, to } of notClosed) {
    said.push(`The breaker of ${name} is ${state}, since ${clock(from, true)}${to < run.length * run.width ? ` until ${clock(to, true)}` : ""}.`);
  }
  const drains = run.places(place).every((each) => !run.value("circuit_breaker", each, at) || shut(run, each, at) === "closed");
  const verb = (name) => (name === "circuit_breaker" && drains ? "drain" : "wait"); // behind one that has closed again nothing waits for it
  const waits = WAITS.map((name) => [run.value(name, place, at), verb(name), WORDS[name]]).filter(([many]) => many > 0);
  waits.sort(([one], [other]) => other - one);
  if (waits.length) said.push(`${waits.map(([many, does, where]) => `${count(many)} ${does}${many === 1 ? "s" : ""} ${where}`).join(", ")}.`);
  const letters = run.value("dead_letters", place, at);
  if (letters > 0) said.push(`${count(letters)} dead letter${letters === 1 ? "" : "s"}.`);
  return said.length ? said.join(" ") : "All goes well: nothing waits.";
}
