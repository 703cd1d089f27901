import assert from "node:assert/strict";
import { test } from "node:test";

const { clock, span, ticks, timeTicks, writeDuration } = await import(`${process.env.STATIC}/units.js`);

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
