import assert from "node:assert/strict";
import { test } from "node:test";

const { clock, fromSlider, span, ticks, timeTicks, toSlider, write, writeDuration } = await import(`${process.env.STATIC}/units.js`);

test("durations are written as a scenario has them, and mean the same", () => {
  const of = { ms: 0.001, us: 1e-6, s: 1, m: 60, h: 3600, d: 86400 };
  for (const seconds of [0.0005, 0.08, 0.25, 1, 1.5, 59, 60, 90, 120, 150, 600, 3600, 5400, 7200, 86400, 172800, 1234, 98765]) {
    const [, number, unit] = writeDuration(seconds).match(/^([\d.]+)([a-z]+)$/);
    assert.ok(Math.abs(number * of[unit] / seconds - 1) < 0.0051, `${seconds}: ${number}${unit}`);
  }
  assert.equal(writeDuration(0), "0s");
  assert.equal(writeDuration(120), "2m");
  assert.equal(writeDuration(90), "90s");
});

test("each kind of setting is written in its own way", () => {
  const written = [["rate", 2.5], ["share", 0.3], ["count", 4.4], ["number", 1.5], ["switch", false], ["choice", "full"]].map(([kind, value]) => write(kind, value));
  assert.deepEqual(written, ["2.5/s", "30%", "4", "1.5", "false", "full"]);
});

test("a slider that shows a value gives that value again, as well as its steps allow", () => {
  const knobs = [
    { kind: "count", low: 1, high: 50, log: false, values: [1, 5, 50] },
    { kind: "share", low: 0, high: 1, log: false, values: [0, 0.3, 1] },
    { kind: "duration", low: 1, high: 1800, log: true, values: [1, 20, 60, 1800] },
  ];
  for (const { values, ...knob } of knobs) {
    for (const value of values) assert.ok(Math.abs(fromSlider(knob, toSlider(knob, value)) - value) <= value * 0.02, `${value}`);
  }
});

test("axes have few round numbers within their range", () => {
  assert.deepEqual(ticks(100, 4), [0, 50, 100]);
  for (const limit of [0.3, 7, 81, 4096, 123456]) assert.ok(ticks(limit, 3).length <= 4 && ticks(limit, 3).at(-1) <= limit);
  assert.deepEqual(timeTicks(55, 200, 3), [60, 120, 180]);
});

test("instants and durations read as people say them", () => {
  assert.deepEqual([clock(0), clock(75), clock(75.26, true), clock(3661)], ["0:00", "1:15", "1:15.3", "1:01:01"]);
  assert.deepEqual([span(0.0411), span(90), span(null), span(0)], ["41.1 ms", "1.5 min", "–", "0 s"]);
  assert.equal(clock(59.97, true), "1:00");
});
