// What may be written at the caret, as the schema has it.

import { get } from "./ask.js";
import { make } from "./dom.js";

const LETTER = /[\w:{,]/;

export class Completion {
  constructor(field, list) {
    Object.assign(this, { field, list, asked: 0 });
    field.addEventListener("keydown", (event) => this.#key(event), { capture: true }); // before the editor takes Tab
    field.addEventListener("input", ({ data }) => { if (LETTER.test(data ?? "")) this.ask(); else this.hide(); });
    for (const kind of ["blur", "click"]) field.addEventListener(kind, () => this.hide());
    list.addEventListener("pointerdown", (event) => { event.preventDefault(); this.#take(event.target.closest("li")); });
  }

  hide() {
    this.list.hidden = true;
    this.asked++;
    this.field.removeAttribute("aria-activedescendant");
  }

  async ask() {
    const asked = ++this.asked, { value, selectionStart: at, scrollTop, scrollLeft } = this.field;
    const found = await get("/complete", { before: value.slice(0, at), after: value.slice(at) }).catch(() => ({ offered: [] }));
    if (asked !== this.asked) return;
    if (!found.offered.length) { this.hide(); return; }
    this.list.replaceChildren(...found.offered.map(({ text, insert, sentence }, number) => make("li", { role: "option", id: `offered-${number}`, insert }, make("b", {}, text), " ", sentence)));
    const before = value.slice(0, at - found.typed).split("\n"), line = parseFloat(getComputedStyle(this.field).lineHeight);
    const below = before.length * line - scrollTop + 10, isHigh = below < this.field.clientHeight / 2;
    Object.assign(this.list.style, { left: `min(calc(${before.at(-1).length}ch - ${scrollLeft}px), 40%)`, top: isHigh ? `${below}px` : "", bottom: isHigh ? "" : `calc(100% - ${below - line}px)` });
    this.list.hidden = false;
    this.#choose(0);
  }

  #choose(number) {
    const { children } = this.list;
    this.chosen = children[(number + children.length) % children.length];
    for (const each of children) each.setAttribute("aria-selected", each === this.chosen);
    this.chosen.scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", this.chosen.id);
  }

  #key(event) {
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); this.ask(); return; }
    if (this.list.hidden) return;
    const at = [...this.list.children].indexOf(this.chosen);
    const act = { ArrowDown: () => this.#choose(at + 1), ArrowUp: () => this.#choose(at - 1), Enter: () => this.#take(this.chosen), Tab: () => this.#take(this.chosen), Escape: () => this.hide() }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    act();
  }

  /** Put one in place of the word at the caret, of which more may have been typed since it was asked for. */
  #take({ insert }) {
    const { value, selectionStart: at } = this.field;
    this.hide();
    this.field.setSelectionRange(at - value.slice(0, at).match(/[\w.-]*$/)[0].length, at + value.slice(at).match(/^[\w.-]*/)[0].length);
    document.execCommand("insertText", false, insert);
    if (insert.endsWith(" ")) this.ask(); // a key is followed by its value
  }
}
