// What is known of a run so far, and what there is to say of it. Pure.

import { clock, count } from "./units.js";

const QUANTILES = ["p50", "p99"]; // they do not add up

export const WAITS = ["turn", "backoff", "rate_limit", "circuit_breaker", "quiet_hours"];

const WORDS = {
  turn: "for a turn or a free slot", backoff: "between retries", circuit_breaker: "behind the breaker", quiet_hours: "for the end of quiet hours",
};

const NEVER = -1; // how a frame writes a delivery time that is infinite

export class Run {
  constructor(begin) {
    Object.assign(this, { begin, channels: begin.channels, width: 0, length: 0, rows: {}, transitions: [], spans: {}, done: null, breaches: [], broke: [], list: begin.list });
  }

  take(line) {
    if (line.type === "frame") this.frame(line);
    else Object.assign(this, line.type === "done" ? { done: line, spans: {} } : { breaches: line.breaches, broke: line.events }, { list: line.list });
  }

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
    for (const [place, { step, found }] of Object.entries(frame.times)) {
      const own = (this.rows[place] ??= {});
      for (const [at, ...values] of found) {
        QUANTILES.forEach((name, number) => { for (let one = 0; one < step; one++) (own[name] ??= [])[at * step + one] = values[number] === NEVER ? Infinity : values[number]; });
      }
    }
    this.length = Math.max(this.length, frame.to);
    this.transitions.push(...frame.transitions);
  }

  /** Return up to when there are figures, in seconds. */
  get reached() { return this.done ? this.end : this.length * this.width; }

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

  /** Return when the step of an instant ends, at which its levels are counted, in seconds. */
  endOfStep(at) { return (this.bucket(at) + 1) * this.width; }

  value(name, place, at) { return this.values(name, place)[this.bucket(at)] ?? null; }

  places(place) { return /^(@|$)/.test(place) ? this.channels.map((each) => each + place) : [place]; }

  /** Return the spans of a breaker: state, from, to; down is its node. Of several hosts or nodes the most shut counts. */
  states(breaker) { return (this.spans[breaker] ??= this.#states(breaker)); }

  stateAt(breaker, at) { return this.states(breaker).findLast((each) => each.from <= at)?.state; }

  /** Return the hosts of recipients whose own breaker is not closed at an instant; null where there is one breaker for all of them. */
  hosts(breaker, at) {
    const own = this.transitions.filter((each) => each.breaker === breaker && each.at <= at), last = new Map(own.map((each) => [each.host, each.to]));
    return !last.size || last.has(null) ? null : [...last.keys()].filter((host) => SHUT_FIRST.includes(last.get(host)));
  }

  /** Return what notifications wait for at the limits of a place. */
  limit(place) {
    const waiting = this.places(place).filter((each) => this.values("rate_limit", each).some((value) => value > 0));
    return [...new Set((waiting.length ? waiting : this.places(place)).map((each) => this.begin.about[each.split("@")[0]].limit))].join(" or ");
  }

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
    const downs = (this.begin.downs?.[breaker?.split("@")[1] ?? 1] ?? []).filter(([start]) => start < upTo);
    const around = (start, stop) => (each) => [{ ...each, to: Math.min(each.to, start) }, { ...each, from: Math.max(each.from, stop) }].filter(({ from, to }) => from < to);
    const left = downs.reduce((found, [start, stop]) => found.flatMap(around(start, stop)), spans);
    return [...left, ...downs.map(([start, stop]) => ({ state: "down", from: start, to: Math.min(stop, upTo) }))].sort((one, other) => one.from - other.from);
  }

  /** Return what happened at a place, in order: each with its kind, time and text. */
  events(place) {
    const first = this.values("dead", place).findIndex((each) => each > 0), breakers = breakersAt(this, place);
    const transitions = this.transitions.filter(({ breaker }) => breakers.includes(breaker));
    const letters = first < 0 ? [] : [{ at: first * this.width, kind: "dead", text: "the first dead letter" }];
    return [...this.begin.events.filter((each) => each.at <= this.end), ...transitions, ...letters, ...this.broke].sort((one, other) => one.at - other.at);
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

/** Return the breaker at a place that is the most shut of them when a bucket ends, as what waits is counted then, and its state. */
function shuttest(run, place, at) {
  const end = run.endOfStep(at) - 1e-9, order = [...SHUT_FIRST, "closed", "metrics-only", "disabled", "down"];
  const found = breakersAt(run, place).map((name) => ({ name, state: run.stateAt(name, end), at: end }));
  return found.sort((one, other) => order.indexOf(one.state) - order.indexOf(other.state))[0];
}

const STATES = { disabled: "off", "metrics-only": "watches only", "forced-open": "forced open" };

export const stateWords = (state) => STATES[state] ?? state ?? "";

/** Return what becomes of attempts that meet a breaker at an instant at which it is not closed. */
function fate(run, name, at) {
  const [, channel, node = ""] = name.match(/^([^/@]*)[^@]*(@.*)?$/);
  const open = breakersAt(run, channel + node).filter((each) => each !== name && !SHUT_FIRST.includes(run.stateAt(each, at)));
  const others = open.map((each) => each.match(/\/([^@]*)/)?.[1] ?? "primary");
  const rest = others.length ? `go to ${others.join(" or ")}` : run.begin.about[channel].fails ? "fail at once" : "wait";
  return run.stateAt(name, at) === "half-open" ? `probes go out, other attempts ${rest}` : `attempts ${rest}`;
}

/** Return how many wait behind the breakers of some places at the end of a step and of the one before it. */
function behind(run, places, at) {
  const bucket = run.bucket(at), all = places.map((each) => run.values("circuit_breaker", each));
  return [bucket, bucket - 1].map((one) => all.reduce((sum, values) => sum + (values[one] ?? 0), 0));
}

/** Return how the breakers of a place stand when a bucket ends, and what happens there, in words. */
export function breakerWords(run, place, at) {
  const found = shuttest(run, place, at), isShut = SHUT_FIRST.includes(found?.state), [now, before] = behind(run, [place], at);
  const words = !isShut ? (!now || found?.state === "down" ? "wait" : now < before ? "drain behind it" : "wait in line behind it") : `wait; ${fate(run, found.name, found.at)}`;
  return { state: found?.state ?? "", words: words.replace(/; attempts wait$/, "") };
}

/** Return what happens at a place and an instant, in sentences. */
export function story(run, place, at) {
  const said = [], breakers = breakersAt(run, place);
  for (const { text, spans, dips } of run.begin.faults) {
    const isIn = ([from, to]) => from <= at && (at < to || to >= run.begin.latest_s), now = spans.find(isIn);
    if (!now) continue;
    const end = now[1] < run.begin.latest_s ? `until ${clock(now[1], true)}` : "to the end";
    said.push(`${text}${dips.length ? (dips.some(isIn) ? ", down now" : ", up now") : ""}, ${end}.`);
  }
  const notClosed = breakers.map((name) => ({ name, ...run.states(name).findLast((each) => each.from <= at) }))
    .filter(({ state }) => SHUT_FIRST.includes(state));
  const gone = [...new Set(breakers.filter((each) => run.stateAt(each, at) === "down").map((each) => each.split("@")[1]))];
  if (gone.length) said.push(gone.length > 1 ? `${gone.length} nodes are down.` : `${gone[0] ? `Node ${gone[0]}` : "The process"} is down.`);
  const states = [...new Set(notClosed.map(({ state }) => stateWords(state)))].join(" or ");
  if (notClosed.length > 1) said.push(`${notClosed.length} of ${breakers.length} breakers are ${states}.`);
  else for (const { name, state, from, to } of notClosed) {
    const hosts = run.hosts(name, at), where = !hosts ? "" : hosts.length === 1 ? ` for ${hosts[0] || "recipients without a host"}` : ` for ${hosts.length} hosts`;
    said.push(`The breaker of ${name}${where} is ${stateWords(state)}, since ${clock(from, true)}${to < run.length * run.width ? ` until ${clock(to, true)}` : ""}: ${fate(run, name, at)}.`);
  }
  const isDown = shuttest(run, place, at)?.state === "down";
  const waits = WAITS.map((name) => [run.value(name, place, at), "wait", isDown ? "where all is down" : WORDS[name] ?? `for ${run.limit(place)}`]);
  const [resume, before] = behind(run, run.places(place).filter((each) => ![...SHUT_FIRST, "down"].includes(shuttest(run, each, at)?.state)), at);
  waits[WAITS.indexOf("circuit_breaker")][0] -= resume; // behind one that has closed again nothing waits for it
  waits.push(resume < before ? [resume, "drain", WORDS.circuit_breaker] : [resume, "wait", "in line behind the breaker, which has closed"]);
  waits.sort(([one], [other]) => other - one);
  const words = waits.filter(([many]) => many > 0).map(([many, does, where]) => `${count(many)} ${does}${many === 1 ? "s" : ""} ${where}`);
  const end = run.endOfStep(at), stateThen = (name) => run.stateAt(name, end - 1e-9), changed = breakers.filter((each) => run.stateAt(each, at) !== stateThen(each));
  const what = changed.length > 1 ? `${changed.length} breakers have changed` : `the breaker of ${changed[0]} is ${stateWords(stateThen(changed[0]))}`;
  const by = changed.length ? `By ${clock(end, true)} ${what}: ` : ""; // what waits is counted then
  if (words.length) said.push(`${by}${words.join(", ")}.`);
  const letters = run.value("dead_letters", place, at);
  if (letters > 0) said.push(`${count(letters)} dead letter${letters === 1 ? "" : "s"}.`);
  if (said.length) return said.join(" ");
  return run.value("failed", place, at) + run.value("refused", place, at) > 0 ? "Nothing waits, though attempts fail." : "All goes well: nothing waits.";
}
