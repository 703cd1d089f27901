// Faults as bands over the axis of time: they can be dragged, stretched, and taken out; by keys, too.

import { clock, roundSeconds, writeDuration } from "./units.js";

export class Faults {
  /** Show them in an element, each as a template has it, over the axis of charts. `change(number, at, lasts)` moves one. */
  constructor(element, template, charts, { change, remove }) {
    Object.assign(this, { element, template, charts, change, remove, faults: [], bands: [], dragged: null });
  }

  show(faults) {
    if (this.dragged) { this.later = faults; return; }
    const focused = this.bands.findIndex((band) => band.row.contains(document.activeElement));
    const part = document.activeElement?.dataset?.part;
    this.faults = faults;
    this.bands = faults.map((fault, number) => this.#band(fault, number));
    this.element.replaceChildren(...this.bands.map((band) => band.row));
    this.place();
    if (focused >= 0) this.bands[focused]?.row.querySelector(`[data-part="${part}"]`)?.focus();
  }

  /** Put the bands where the axis is now. */
  place() {
    this.faults.forEach((fault, number) => {
      const { band, parts } = this.bands[number], end = this.#end(fault);
      const left = Math.max(this.charts.x(fault.at_s), this.charts.x(this.charts.range[0]));
      const right = Math.min(this.charts.x(end), this.charts.x(this.charts.range[1]));
      band.hidden = right < left;
      band.style.left = `${left}px`;
      band.style.width = `${Math.max(28, right - left)}px`;
      band.className = `fault${right - left < 110 ? " narrow" : ""}${left > this.charts.width / 2 ? " at-end" : ""}`;
      const words = { move: `from ${clock(fault.at_s, true)} to ${clock(end, true)}`, start: clock(fault.at_s, true), end: clock(end, true) };
      for (const [name, part] of Object.entries(parts)) {
        part.classList.toggle("beyond", name === "start" ? fault.at_s < this.charts.range[0] : name === "end" && end > this.charts.range[1]);
        part.setAttribute("aria-valuetext", words[name]);
        part.setAttribute("aria-valuenow", Math.round(name === "end" ? end : fault.at_s));
      }
    });
  }

  #end(fault) { return fault.for_s === null ? this.charts.run?.end ?? fault.at_s : fault.at_s + fault.for_s; }

  #band(fault, number) {
    const row = this.template.content.firstElementChild.cloneNode(true), [band, gone] = row.children;
    const parts = Object.fromEntries([...band.children].map((element) => [element.dataset.part, element]));
    for (const [name, element] of Object.entries(parts)) {
      element.setAttribute("aria-label", `${name === "move" ? "time" : name} of ${fault.text}`);
      element.setAttribute("aria-valuemax", Math.round(this.charts.run?.end ?? 0));
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
      if (later) this.show(later);
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
