// Sliders and switches for the settings that are worth turning.

import { make } from "./dom.js";
import { fromSlider, toSlider, write } from "./units.js";

export class Knobs {
  /** Show them in an element; `turn(knob, text)` is called with a value as it is written. */
  constructor(element, turn) {
    this.element = element;
    this.turn = turn;
    this.shown = "";
    this.controls = new Map();
  }

  /** Show what the server has found. As long as the settings are the same ones, controls stay where they are. */
  show(knobs, open) {
    const shown = JSON.stringify(knobs.map((knob) => [knob.path, knob.why, knob.kind]));
    if (shown !== this.shown) this.#build(knobs, open);
    this.shown = shown;
    for (const knob of knobs) this.controls.get(knob.path).set(knob);
  }

  #build(knobs, open) {
    this.controls.clear();
    const was = new Map([...this.element.querySelectorAll("details")].map((each) => [each.dataset.group, each.open]));
    const groups = new Map();
    for (const knob of knobs) {
      if (!groups.has(knob.group)) {
        const box = make("details", { open: was.get(knob.group) ?? open(knob.group) }, make("summary", {}, knob.group));
        box.dataset.group = knob.group;
        groups.set(knob.group, box);
      }
      groups.get(knob.group).append(this.#control(knob));
    }
    this.element.replaceChildren(...groups.values());
  }

  #control(knob) {
    const id = `knob-${knob.path}`, output = make("output", { className: "value" });
    const input = knob.kind === "choice"
      ? make("select", { id }, ...knob.choices.map((each) => make("option", { value: each }, each)))
      : make("input", { id, type: knob.kind === "switch" ? "checkbox" : "range", max: 1000 });
    const hint = make("small", { id: `${id}-hint`, className: "quiet" });
    input.setAttribute("aria-describedby", hint.id);
    let now = knob;
    const read = () => {
      if (knob.kind === "switch") return input.checked;
      return knob.kind === "choice" ? input.value : fromSlider(now, Number(input.value));
    };
    const say = (value) => {
      output.textContent = knob.kind === "switch" ? (value ? "on" : "off") : knob.kind === "choice" ? "" : write(knob.kind, value);
      if (input.type === "range") input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => { say(read()); this.turn(now, write(knob.kind, read())); });
    this.controls.set(knob.path, {
      set: (newest) => {
        now = newest;
        input.disabled = !newest.splice;
        hint.textContent = newest.why ? `Only in the text: ${newest.why}.`
          : newest.sentence + (newest.default ? ` Default: ${newest.default}.` : "");
        if (newest.kind === "switch") input.checked = newest.value;
        else if (newest.kind === "choice") input.value = newest.value;
        else if (fromSlider(newest, Number(input.value)) !== newest.value) input.value = toSlider(newest, newest.value);
        say(newest.value);
      },
    });
    const label = make("label", { for: id }, knob.label);
    return make("div", { className: `knob is-${knob.kind}`, title: knob.sentence }, label, output, input, hint);
  }
}
