// Changes of the text, by the places that the server has found in it. Pure.

/** Return a text with values put in at their places. Of several at one place the first is the first in the text. */
export function spliced(text, changes) {
  const ordered = changes.map((change, at) => ({ ...change, at }));
  ordered.sort((one, other) => other.splice.start - one.splice.start || other.at - one.at);
  for (const { splice, value } of ordered) {
    text = text.slice(0, splice.start) + splice.before + value + splice.after + text.slice(splice.end);
  }
  return text;
}

/** Return where a line begins, counted from 1, and a column of it. */
export function offsetOf(text, line, column) {
  const before = text.split("\n").slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  return Math.min(before + Math.max(0, column - 1), text.length);
}

const TOKEN = /(?<comment>(?<=^|\s)#.*)|(?<text>"[^"]*"|'[^']*')|(?<key>(?<![\w.-])[\w.-]+)(?=:(\s|$))|(?<number>\b\d[\w./%-]*)/g;

/** Return the parts of a line of YAML, each with what it is: key, comment, text, number, or nothing. */
export function tokens(line) {
  const found = [];
  let at = 0;
  for (const { 0: text, index, groups } of line.matchAll(TOKEN)) {
    found.push({ kind: "", text: line.slice(at, index) }, { kind: Object.keys(groups).find((each) => groups[each]), text });
    at = index + text.length;
  }
  return [...found, { kind: "", text: line.slice(at) }].filter(({ text }) => text);
}

/** What was done to a text, to be undone. Changes from one source that follow each other quickly are one. */
export class Undo {
  constructor(text) { this.texts = [text]; this.at = 0; this.last = null; }

  /** Note a text that a source has made, at a time in milliseconds. */
  note(text, source, now) {
    if (text === this.texts[this.at]) return;
    const joins = this.last && this.last.source === source && now - this.last.now < 800 && this.at > 0;
    this.texts.length = this.at + 1;
    if (joins) this.texts[this.at] = text; else this.at = this.texts.push(text) - 1;
    if (this.texts.length > 200) { this.texts.shift(); this.at--; }
    this.last = { source, now };
  }

  /** Return the text before, or with 1 the one after; undefined if there is none. */
  step(by) {
    const text = this.texts[this.at + by];
    if (text !== undefined) { this.at += by; this.last = null; }
    return text;
  }
}
