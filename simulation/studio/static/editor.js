// The text: a field over the same text in colours, with what is wrong with it at its lines.

import { make } from "./dom.js";
import { offsetOf, tokens } from "./text.js";

const COLOURED_MAX = 200_000; // characters: a longer text is shown without colours

export class Editor {
  constructor({ field, colours, problems }, typed) {
    Object.assign(this, { field, colours, problemList: problems, problems: [] });
    field.addEventListener("input", () => { this.#paint(); typed(field.value); });
    field.addEventListener("scroll", () => this.#follow());
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Tab" || event.shiftKey || event.ctrlKey || this.leaves) { this.leaves = event.key === "Escape"; return; }
      event.preventDefault(); // Escape, then Tab leaves the field
      document.execCommand("insertText", false, "  ");
    });
  }

  get text() { return this.field.value; }

  set text(text) {
    if (text === this.field.value) return;
    const { selectionStart, selectionEnd, scrollTop } = this.field;
    this.field.value = text;
    this.field.setSelectionRange(selectionStart, selectionEnd);
    this.field.scrollTop = scrollTop;
    this.#paint();
  }

  show(problems) {
    this.problems = problems;
    this.field.setAttribute("aria-invalid", problems.length > 0);
    this.problemList.replaceChildren(...problems.map(({ line, column, text }) => {
      const onclick = () => this.go(line, column), where = line ? `Line ${line}, column ${column}: ` : "";
      return make("li", {}, make("button", { type: "button", onclick }, make("b", {}, where), text));
    }));
    this.problemList.hidden = !problems.length;
    this.#paint();
  }

  go(line, column) {
    const at = offsetOf(this.text, line, column);
    this.field.focus();
    this.field.setSelectionRange(at, at);
    this.field.scrollTop = (line - 4) * parseFloat(getComputedStyle(this.field).lineHeight);
  }

  #paint() {
    const wrong = new Set(this.problems.map((problem) => problem.line));
    const isPlain = this.field.classList.toggle("plain", this.text.length > COLOURED_MAX);
    const lines = (isPlain ? [] : this.text.split("\n")).map((line, at) => {
      const parts = tokens(line).map(({ kind, text }) => (kind ? make("span", { className: kind }, text) : text));
      return make("div", { className: wrong.has(at + 1) ? "wrong" : "" }, ...parts, "\n");
    });
    this.colours.replaceChildren(...lines);
    this.#follow();
  }

  #follow() {
    this.colours.style.transform = `translate(${-this.field.scrollLeft}px, ${-this.field.scrollTop}px)`;
  }
}
