import assert from "node:assert/strict";
import { test } from "node:test";

const { offsetOf, spliced, tokens, Undo } = await import(`${process.env.STATIC}/text.js`);

test("values are put in at their places, whatever their order", () => {
  const splice = (start, end, before = "", after = "") => ({ start, end, before, after });
  assert.equal(spliced("at: 2m, for: 3m", [{ splice: splice(4, 6), value: "90s" }, { splice: splice(13, 15), value: "1h" }]), "at: 90s, for: 1h");
  const here = splice(6, 6, ", ");
  assert.equal(spliced("{a: 1 }", [{ splice: here, value: "b: 2" }, { splice: here, value: "c: 3" }]), "{a: 1 , b: 2, c: 3}");
});

test("the parts of a line are the line", () => {
  for (const line of ["", "  - {channel: email, at: 2m}  # at night", "a: 'x # y' # z", "name: it's 30% #no", "# all", "key:", "  text of: many words"]) {
    assert.equal(tokens(line).map(({ text }) => text).join(""), line);
  }
  const kinds = (line) => tokens(line).filter(({ kind }) => kind).map(({ kind, text }) => [kind, text]);
  assert.deepEqual(kinds("at: 2m # now"), [["key", "at"], ["number", "2m"], ["comment", "# now"]]);
  assert.deepEqual(kinds("a: x#y"), [["key", "a"]]);
});

test("lines and columns lead to their place", () => {
  assert.equal(offsetOf("ab\ncd\n", 2, 2), 4);
  assert.equal(offsetOf("ab", 9, 9), 2);
});

test("what is done is undone step by step, and what one drag has done in one step", () => {
  const undo = new Undo("a");
  undo.note("b", "slider", 0);
  undo.note("c", "slider", 100);
  undo.note("d", "typed", 150);
  assert.equal(undo.step(1), undefined);
  assert.equal(undo.step(-1), "c");
  assert.equal(undo.step(-1), "a");
  assert.equal(undo.step(-1), undefined);
  assert.equal(undo.step(1), "c");
  undo.note("e", "slider", 200);
  assert.equal(undo.step(1), undefined);
  assert.equal(undo.step(-1), "c");
});
