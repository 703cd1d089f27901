// Faults as bands over the axis of time: they can be dragged, stretched, and taken out; by keys, too.

import { byId, make } from "./dom.js";
import { clock, roundSeconds, writeDuration } from "./units.js";

export class Faults {
  /** Show them in an element, each as a template has it, over the axis of charts. `change(number, at, lasts)` moves one. */
  constructor(element, template, charts, { change, remove }) {
    Object.assign(this, { element, template, charts, change, remove, faults: [], bands: [], quiet: [], dragged: null });
  }

  show(faults, quiet = []) {
    if (this.dragged) { this.later = [faults, quiet]; return; }
    const focused = this.bands.findIndex((band) => band.row.contains(document.activeElement));
    const part = document.activeElement?.dataset?.part;
    this.faults = faults;
    this.bands = faults.map((fault, number) => this.#band(fault, number));
    this.quiet = quiet.map((each) => this.#quiet(each));
    this.element.replaceChildren(...this.bands.map((band) => band.row), ...this.quiet.map((each) => each.row));
    this.place();
    if (focused < 0) return;
    const next = this.bands[Math.min(focused, faults.length - 1)]?.row; // of those that are left, where one was taken out
    (next?.querySelector(part ? `[data-part="${part}"]` : ".gone") ?? byId("new-what")).focus();
  }

  place() {
    this.faults.forEach((fault, number) => {
      const { band, parts } = this.bands[number], end = this.#end(fault);
      const left = Math.max(this.charts.x(fault.at_s), this.charts.x(this.charts.range[0]));
      const right = Math.min(this.charts.x(end), this.charts.x(this.charts.range[1]));
      band.hidden = right < left;
      band.style.left = `${left}px`;
      band.style.width = `${Math.max(28, right - left)}px`;
      band.style.setProperty("--cycle", fault.flap ? `${this.#pixels(fault.flap[0] + fault.flap[1])}px` : "");
      band.style.setProperty("--up", fault.flap ? `${this.#pixels(fault.flap[0])}px` : "");
      band.style.setProperty("--from", `${this.charts.x(fault.at_s) - left}px`);
      band.className = `fault${fault.flap ? " flaps" : ""}${right - left < 110 ? " narrow" : ""}${left > this.charts.width / 2 ? " at-end" : ""}`;
      const words = { move: `from ${clock(fault.at_s, true)} to ${clock(end, true)}`, start: clock(fault.at_s, true), end: clock(end, true) };
      for (const [name, part] of Object.entries(parts)) {
        part.classList.toggle("beyond", name === "start" ? fault.at_s < this.charts.range[0] : name === "end" && end > this.charts.range[1]);
        part.setAttribute("aria-valuetext", words[name]);
        part.setAttribute("aria-valuemax", Math.round(Math.max(this.charts.run?.begin.duration_s ?? 0, end)));
        part.setAttribute("aria-valuenow", Math.round(name === "end" ? end : fault.at_s));
      }
    });
    const [first, last] = this.charts.range.map((each) => this.charts.x(each));
    for (const { row, spans } of this.quiet) {
      const shown = this.charts.x(spans.find(([, to]) => to > this.charts.range[0])?.[0] ?? 0), isLate = shown > this.charts.width / 2;
      Object.assign(row.lastChild.style, isLate ? { left: "", right: `${this.charts.width - shown + 4}px` } : { left: `${Math.max(first, shown) + 4}px`, right: "" });
      spans.forEach(([from, to], number) => {
        const left = Math.max(first, this.charts.x(from)), right = Math.min(last, this.charts.x(to)), band = row.children[number];
        band.hidden = right < left;
        Object.assign(band.style, { left: `${left}px`, width: `${Math.max(2, right - left)}px` });
      });
    }
  }

  #pixels(seconds) { return this.charts.x(seconds) - this.charts.x(0); }

  /** Make the row of quiet hours, which are turned in the text alone. */
  #quiet({ text, spans }) {
    const row = make("div", { className: "fault-row quiet-row", title: text, role: "img", "aria-label": `${text}: ${spans.map(([from, to]) => `from ${clock(from, true)} to ${clock(to, true)}`).join(", ")}` });
    row.append(...spans.map(() => make("i")), make("span", { className: "label" }, text));
    return { row, spans };
  }

  #end(fault) { return fault.for_s === null ? this.charts.run?.end ?? fault.at_s : fault.at_s + fault.for_s; }

  #band(fault, number) {
    const row = this.template.content.firstElementChild.cloneNode(true), [band, gone] = row.children;
    const parts = Object.fromEntries([...band.children].map((element) => [element.dataset.part, element]));
    for (const [name, element] of Object.entries(parts)) {
      element.setAttribute("aria-label", `${name === "move" ? "time" : name} of ${fault.text}`);
      if (!fault.at || (!fault.for && name !== "move")) element.setAttribute("aria-disabled", "true");
      else this.#listen(element, name, number);
    }
    row.querySelector(".label").textContent = fault.text;
    gone.setAttribute("aria-label", `Take out ${fault.text}`);
    gone.addEventListener("click", () => this.remove(number));
    band.title = `${fault.text}. Drag to move, drag an end to stretch; or use the arrow keys.`;
    return { row, band, parts };
  }

  #listen(element, part, number) {
    const grasped = (x) => {
      const fault = this.faults[number];
      return { x, at: fault.at_s, end: this.#end(fault), bounded: fault.for && fault.for_s !== null };
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.dragged = grasped(event.clientX);
      element.setPointerCapture(event.pointerId);
      event.preventDefault();
      element.focus();
    });
    element.addEventListener("pointermove", (event) => {
      if (!this.dragged) return;
      const [from, to] = this.charts.range;
      this.#move(number, part, (event.clientX - this.dragged.x) / (this.charts.x(to) - this.charts.x(from)) * (to - from), this.dragged);
    });
    const drop = () => {
      const { later } = this;
      this.dragged = this.later = null;
      if (later) this.show(...later);
    };
    element.addEventListener("pointerup", drop);
    element.addEventListener("pointercancel", drop);
    element.addEventListener("keydown", (event) => {
      const step = this.#step() * (event.shiftKey ? 10 : 1), by = { ArrowLeft: -step, ArrowRight: step }[event.key];
      if (event.key === "Delete") this.remove(number);
      if (!by) return;
      event.preventDefault();
      this.#move(number, part, by, grasped(0));
    });
  }

  #step() { return roundSeconds((this.charts.range[1] - this.charts.range[0]) / 200); }

  #move(number, part, by, from) {
    const fault = this.faults[number], step = this.#step(), limit = this.charts.run.begin.duration_s;
    const snapped = (seconds) => Number((Math.round(seconds / step) * step).toFixed(3));
    let at = fault.at_s, end = from.end;
    if (part === "move") { at = Math.min(limit - step, Math.max(0, snapped(from.at + by))); end = at + (from.end - from.at); }
    if (part === "start") at = Math.min(from.end - step, Math.max(0, snapped(from.at + by)));
    if (part === "end") end = Math.max(from.at + step, snapped(from.end + by));
    const lasts = part === "move" && !from.bounded ? null : Number((end - at).toFixed(3));
    if (at === fault.at_s && (lasts === null || lasts === fault.for_s)) return;
    Object.assign(fault, { at_s: at, for_s: lasts ?? fault.for_s });
    this.place();
    this.change(number, writeDuration(at), lasts === null ? null : writeDuration(lasts));
  }
}
