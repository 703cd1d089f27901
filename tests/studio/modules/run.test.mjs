import assert from "node:assert/strict";
import { test } from "node:test";

const { breakersAt, breakerWords, jump, pieces, Run, story } = await import(`${process.env.STATIC}/run.js`);
const { span } = await import(`${process.env.STATIC}/units.js`);

const NAMES = ["arrived", "sent", "failed", "dead", "suppressed", "turn", "backoff", "rate_limit", "circuit_breaker", "quiet_hours", "under_way", "dead_letters"];
const rows = (more) => ({ ...Object.fromEntries(NAMES.map((name) => [name, [0, 0, 0, 0]])), ...more });
const times = (place, ...found) => ({ [place]: { step: 1, found } });
const open = { at: 2.5, kind: "opens", breaker: "email", host: null, to: "open", text: "Breaker email: closed to open" };

function run(downs = {}) {
  const made = new Run({
    duration_s: 4, latest_s: 6, downs, channels: ["email", "sms"], breakers: { email: "closed", sms: "closed" },
    about: { email: { fails: false, limit: "the quota" }, sms: { fails: true, limit: "the rate limit" } },
    faults: [{ text: "email: outage", spans: [[1, 3]], dips: [] }], events: [{ at: 1, kind: "fault" }, { at: 3, kind: "fault" }], expectations: [],
  });
  made.frame({ width_s: 1, from: 0, to: 2, times: times("", [0, 1, 1], [1, 2, -1]), rows: { email: rows({ sent: [1, 2] }), sms: rows({ sent: [3, 4] }) }, transitions: [] });
  made.frame({ width_s: 1, from: 1, to: 4, times: times("", [1, 5, 9], [2, null, null], [3, 7, 7]), rows: { email: rows({ sent: [9, 0, 1], circuit_breaker: [0, 3, 2], dead: [0, 1, 0], dead_letters: [0, 1, 1] }), sms: rows({ sent: [4, 4, 4] }) }, transitions: [open] });
  return made;
}

test("later frames take the place of what they bring again", () => {
  const made = run();
  assert.deepEqual([...made.values("sent", "")], [4, 13, 4, 5]);
  assert.deepEqual(made.values("p50", ""), [1, 5, null, 7]);
  assert.deepEqual([made.value("sent", "sms", 1.5), made.value("sent", "", 2.2), made.length], [4, 4, 4]);
});

test("other widths begin anew", () => {
  const made = run();
  made.frame({ width_s: 2, from: 0, to: 2, times: {}, rows: { email: rows({ sent: [11, 12] }), sms: rows({}) }, transitions: [] });
  assert.deepEqual([...made.values("sent", "")], [11, 12]);
});

test("a breaker has its states without gaps", () => {
  assert.deepEqual(run().states("email").map(({ state, from, to }) => [state, from, to]), [["closed", 0, 2.5], ["open", 2.5, 4]]);
});

test("a breaker has no state while its node is down, and what waits there is not said to wait behind it", () => {
  const made = run({ 1: [[0.5, 1], [2.6, 3.5]] });
  assert.deepEqual(made.states("email").map(({ state, from, to }) => [state, from, to]), [
    ["closed", 0, 0.5], ["down", 0.5, 1], ["closed", 1, 2.5], ["open", 2.5, 2.6], ["down", 2.6, 3.5], ["open", 3.5, 4],
  ]);
  assert.deepEqual([made.stateAt("email", 0.9), made.stateAt("email", 1)], ["down", "closed"]);
  assert.deepEqual(breakerWords(made, "email", 2.7), { state: "down", words: "wait" });
  assert.match(story(made, "email", 2.7), /The process is down\. 3 wait where all is down\./);
});

test("events come in order, and one jumps to those of a kind", () => {
  const made = run();
  made.take({ type: "breaches", breaches: [{ number: 0, spans: [[2, 4]] }], events: [{ at: 2, kind: "breach" }] });
  const events = made.events("");
  assert.deepEqual(made.events("sms").map(({ kind }) => kind), ["fault", "breach", "fault"]);
  assert.deepEqual(events.map(({ kind }) => kind), ["fault", "dead", "breach", "opens", "fault"]);
  assert.equal(jump(events, "opens", 0, true).at, 2.5);
  assert.equal(jump(events, "any", 2.5, true).at, 3);
  assert.equal(jump(events, "any", 2.5, false).at, 2);
  assert.equal(jump(events, "closes", 0, true), undefined);
});

test("a sentence says what happens", () => {
  const made = run();
  assert.equal(story(made, "", 0.5), "All goes well: nothing waits.");
  assert.equal(story(made, "", 2.6), "email: outage, until 0:03. The breaker of email is open, since 0:02.5: attempts wait. 3 wait behind the breaker. 1 dead letter.");
  made.frame({ width_s: 1, from: 4, to: 5, times: {}, rows: { email: rows({ circuit_breaker: [2] }) }, transitions: [{ ...open, at: 3.5, to: "closed" }] });
  assert.match(story(made, "", 4.2), /2 wait in line behind the breaker, which has closed/); // as many as before
  assert.equal(breakerWords(made, "email", 4.2).words, "wait in line behind it");
  assert.equal(breakerWords(made, "email", 3.6).words, "drain behind it");
  assert.match(story(made, "", 2.2), /until 0:03\. By 0:03 the breaker of email is open: 3 wait behind the breaker\./); // it is closed at 2.2
  assert.match(story(made, "", 3.2), /attempts wait\. By 0:04 the breaker of email is closed: 2 drain behind the breaker\./);
  made.frame({ width_s: 1, from: 5, to: 6, times: {}, rows: { email: rows({ backoff: [1], turn: [2] }) }, transitions: [] });
  assert.match(story(made, "", 5.2), /2 wait for a turn or a free slot, 1 waits between retries/);
});

test("a fault is named until it ends, be it after the arrivals or with the run", () => {
  const made = run();
  made.begin.faults = [{ text: "email: outage", spans: [[1, 6]], dips: [] }, { text: "sms: hangs", spans: [[1, 5]], dips: [] }];
  assert.match(story(made, "", 3.2), /^email: outage, to the end\. sms: hangs, until 0:05\./);
  made.frame({ width_s: 1, from: 4, to: 6, times: {}, rows: {}, transitions: [] });
  for (const at of [5.5, 6]) assert.match(story(made, "", at), /^email: outage, to the end\. The breaker of email is open/);
});

test("there are figures up to where a run has come", () => {
  const made = run();
  made.begin.duration_s = 20;
  assert.deepEqual([made.reached, made.end], [4, 20]);
  made.begin.events.push({ at: 21, kind: "fault" });
  assert.equal(made.events("").at(-1).at, 3); // it may not come to the other one
  made.take({ type: "done", end_s: 22 });
  assert.deepEqual([made.reached, made.events("").at(-1).at], [22, 21]);
});

test("what is never is longer than any time, and what is not known yet is nothing", () => {
  const made = run();
  assert.deepEqual(made.values("p99", ""), [1, 9, null, 7]);
  made.frame({ width_s: 1, from: 4, to: 4, times: times("", [2, 3, -1]), rows: {}, transitions: [] });
  assert.deepEqual([made.value("p50", "", 2), made.value("p99", "", 2)], [3, Infinity]);
  assert.equal(span(Infinity), "never");
});

test("a flapping fault says whether it is down, and a limit what it is", () => {
  const made = run();
  Object.assign(made.begin.faults[0], { text: "email: flaps", dips: [[2, 3]] });
  assert.match(story(made, "", 1.5), /^email: flaps, up now, until 0:03\./);
  assert.match(story(made, "", 2.2), /^email: flaps, down now, until 0:03\./);
  made.frame({ width_s: 1, from: 3, to: 4, times: {}, rows: { email: rows({ rate_limit: [2] }) }, transitions: [] });
  assert.match(story(made, "", 3.2), /2 wait for the quota/);
  assert.equal(made.limit("sms"), "the rate limit");
});

test("a breaker of each host is open for those hosts alone", () => {
  const made = run();
  made.transitions = [{ ...open, host: "a.example" }];
  assert.match(story(made, "", 2.6), /The breaker of email for a\.example is open/);
  made.transitions.push({ ...open, host: "b.example", at: 2.7 });
  assert.match(story(made, "", 2.8), /The breaker of email for 2 hosts is open/);
});

test("nothing is well where attempts fail", () => {
  const made = run();
  made.frame({ width_s: 1, from: 0, to: 1, times: {}, rows: { email: rows({ failed: [2] }) }, transitions: [] });
  assert.equal(story(made, "", 0.5), "Nothing waits, though attempts fail.");
  made.frame({ width_s: 1, from: 0, to: 1, times: {}, rows: { email: rows({ refused: [2], failed: [0] }) }, transitions: [] });
  assert.equal(story(made, "", 0.5), "Nothing waits, though attempts fail.");
});

test("a curve breaks where it has no values", () => {
  const curve = [null, 1, 2, null, null, 3, null];
  assert.deepEqual(pieces(curve, 0, 6), [[1, 2], [5, 5]]);
  assert.deepEqual(pieces(curve, 2, 8), [[2, 2], [5, 5]]);
});

test("a node has curves of its own, of a channel and of all; what is left out is 0", () => {
  const made = run();
  made.frame({ width_s: 1, from: 0, to: 4, times: { "@2": { step: 2, found: [[0, 3, 3], [1, 3, 3]] } }, rows: { "email@2": { sent: [1, 0, 0, 1] }, "sms@2": { sent: [2, 2, 2, 2] } }, transitions: [] });
  assert.deepEqual(made.places("@2"), ["email@2", "sms@2"]);
  assert.deepEqual([...made.values("sent", "@2")], [3, 2, 2, 3]);
  assert.deepEqual([...made.values("dead", "email@2")], [0, 0, 0, 0]);
  assert.deepEqual([made.value("p50", "@2", 1), made.value("p50", "email@2", 1), made.value("sent", "email@2", 3.5)], [3, null, 1]);
});

test("a place has the breakers of its channel and node", () => {
  const made = run();
  made.begin.breakers = { "email@1": "closed", "email/backup@1": "open", "email@11": "half-open", "sms@1": "closed" };
  assert.deepEqual(breakersAt(made, "email@1"), ["email@1", "email/backup@1"]);
  assert.deepEqual(breakersAt(made, "@1"), ["email@1", "email/backup@1", "sms@1"]);
  assert.deepEqual(["email", "email@11", "sms"].map((place) => breakerWords(made, place, 1).state), ["open", "half-open", "closed"]);
});

test("of many breakers a sentence says how many", () => {
  const made = run();
  made.begin.breakers = Object.fromEntries([1, 2, 3, 4, 5].map((node) => [`email@${node}`, node < 5 ? "open" : "closed"]));
  assert.match(story(made, "", 2.6), /4 of 5 breakers are open\./);
  made.begin.breakers = { "email@1": "open", "email@2": "half-open", "email@3": "closed" };
  Object.assign(made, { spans: {} });
  assert.equal(story(made, "", 0.5), "2 of 3 breakers are open or half-open.");
  assert.match(story(made, "@1", 2.6), /The breaker of email@1 is open, since 0:00: attempts wait\./);
  assert.doesNotMatch(story(made, "email@5", 2.6), /breaker/);
});
