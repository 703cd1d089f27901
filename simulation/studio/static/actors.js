// The way of a notification as a graph of actors, with what waits at each.

import { shut } from "./run.js";
import { count, digits } from "./units.js";

export class Actors {
  /** Show them in an element, each channel as a template has it; `pick(name, channel)` is called with what somebody wants to see. */
  constructor(element, template, pick) {
    Object.assign(this, { element, template, pick, run: null, ways: [] });
  }

  /** Show how they stand at an instant. */
  show(run, channel, at) {
    this.#build(run, channel);
    for (const { item, name, own, most, parts: [state, number, words, bar] } of this.boxes) {
      const value = run.value(name, own, at) ?? 0;
      number.textContent = "rate" in item.dataset ? `${digits(value / run.width)}/s` : count(value);
      bar.style.width = `${most ? 100 * value / most : 0}%`;
      item.classList.toggle("idle", !value);
      if (name !== "circuit_breaker") continue;
      state.textContent = item.dataset.state = shut(run, own, at);
      words.textContent = value && state.textContent === "closed" ? "drain behind it" : "wait";
    }
  }

  /** Make the boxes, where there are other channels than before, and measure their bars anew as a run goes on. */
  #build(run, channel) {
    if (run === this.run && channel === this.channel && run.length === this.length) return;
    Object.assign(this, { run, channel, length: run.length });
    const shown = channel ? [channel] : run.channels;
    if (shown.join() !== this.shown) {
      this.element.replaceChildren(...shown.map((each) => this.#way(each)));
      this.boxes = [...this.element.children].flatMap((way, at) => [...way.querySelectorAll(".actor")].map((item) => (
        { item, name: item.dataset.name, own: shown[at], parts: item.querySelectorAll("em, b, .words, i") })));
    }
    this.shown = shown.join();
    for (const box of this.boxes) {
      box.most = run.values(box.name, box.own).reduce((one, other) => Math.max(one, other ?? 0), 0);
      box.item.hidden = "rare" in box.item.dataset && !box.most;
    }
  }

  #way(channel) {
    const way = this.template.content.firstElementChild.cloneNode(true);
    way.querySelector("strong").textContent = channel;
    way.addEventListener("click", (event) => {
      const item = event.target.closest(".actor");
      if (item) this.pick(item.dataset.name, channel);
    });
    return way;
  }
}
