// Sliders and switches for the settings that are worth turning.

import { byId, rendered } from "./dom.js";

export class Knobs {
  /** Show them in an element; `turn(path, value)` is called with a value as it is written. */
  constructor(element, turn) {
    Object.assign(this, { element, html: "", knobs: new Map() });
    element.addEventListener("input", ({ target }) => {
      const { kind, stops } = this.knobs.get(target.name);
      const value = kind === "choice" ? target.value : stops[Number(kind === "switch" ? target.checked : target.value)];
      this.#say(target, kind, value);
      turn(target.name, value);
    });
  }

  /** Show what the server has found. As long as the settings are the same ones, controls stay where they are. */
  show(html, knobs) {
    if (html !== this.html) {
      const was = new Map([...this.element.children].map((box) => [box.dataset.group, box.open]));
      this.element.replaceChildren(...rendered(html));
      for (const box of this.element.children) box.open = was.get(box.dataset.group) ?? ("hit" in box.dataset && innerWidth > 900);
    }
    Object.assign(this, { html, knobs: new Map(knobs.map((knob) => [knob.path, knob])) });
    for (const { path, kind, value, at } of knobs) {
      const input = byId(`knob-${path}`);
      if (kind === "switch") input.checked = at === 1; else input.value = kind === "choice" ? value : at;
      this.#say(input, kind, value);
    }
  }

  #say(input, kind, value) {
    const isRange = kind !== "switch" && kind !== "choice";
    input.previousElementSibling.textContent = isRange ? value : kind === "choice" ? "" : value === "true" ? "on" : "off";
    if (isRange) input.setAttribute("aria-valuetext", value);
  }
}
