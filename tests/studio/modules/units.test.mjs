import assert from "node:assert/strict";
import { test } from "node:test";

const { clock, span, ticks, timeTicks, writeDuration } = await import(`${process.env.STATIC}/units.js`);

test("durations are written as a scenario has them", () => {
  assert.deepEqual([0, 0.25, 1.5, 60, 90, 120, 5400, 86400, 100000.125].map(writeDuration), ["0s", "0.25s", "1.5s", "60s", "90s", "2m", "90m", "1440m", "100000.125s"]);
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
