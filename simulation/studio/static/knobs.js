// Sliders and switches for the settings that are worth turning.

import { make } from "./dom.js";

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
    const isChoice = knob.kind === "choice", isSwitch = knob.kind === "switch";
    const input = isChoice ? make("select", { id }, ...knob.stops.map((each) => make("option", {}, each)))
      : make("input", { id, type: isSwitch ? "checkbox" : "range", max: knob.stops.length - 1 });
    const hint = make("small", { id: `${id}-hint`, className: "quiet" });
    input.setAttribute("aria-describedby", hint.id);
    const read = () => (isChoice ? input.value : knob.stops[Number(isSwitch ? input.checked : input.value)]);
    const say = (value) => {
      output.textContent = isSwitch ? (value === "true" ? "on" : "off") : isChoice ? "" : value;
      if (!isSwitch && !isChoice) input.setAttribute("aria-valuetext", value);
    };
    input.addEventListener("input", () => { say(read()); this.turn(knob, read()); });
    this.controls.set(knob.path, {
      set: ({ splice, why, sentence, default: usual, value, at }) => {
        input.disabled = !splice;
        hint.textContent = why ? `Only in the text: ${why}.` : sentence + (usual ? ` Default: ${usual}.` : "");
        if (isSwitch) input.checked = at === 1;
        else input.value = isChoice ? value : at;
        say(value);
      },
    });
    const label = make("label", { for: id }, knob.label);
    return make("div", { className: `knob is-${knob.kind}`, title: knob.sentence }, label, output, input, hint);
  }
}
