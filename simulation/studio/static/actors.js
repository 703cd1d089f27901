// The way of a notification as a graph of actors, with what waits at each.

import { breakerWords, stateWords } from "./run.js";
import { count, digits } from "./units.js";

export class Actors {
  /** Show them in an element, each channel as a template has it; `pick(name, place)` is called with what somebody wants to see. */
  constructor(element, template, pick) {
    Object.assign(this, { element, template, pick, boxes: [] });
  }

  show(run, place, at) {
    this.#build(run.places(place));
    for (const { item, name, own, parts: [state, number, words, bar] } of this.boxes) {
      const values = run.values(name, own), value = values[run.bucket(at)], most = Math.max(...values);
      item.hidden = "rare" in item.dataset && !most;
      number.textContent = "rate" in item.dataset ? `${digits(value / run.width)}/s` : count(value);
      bar.style.width = `${most ? 100 * value / most : 0}%`;
      item.classList.toggle("idle", !value);
      if (name === "rate_limit") words.textContent = `wait for ${run.limit(own)}`;
      if (name !== "circuit_breaker") continue;
      const breaker = breakerWords(run, own, at);
      [state.textContent, item.dataset.state, words.textContent] = [stateWords(breaker.state), breaker.state, breaker.words];
    }
  }

  #build(places) {
    if (places.join() === this.shown) return;
    this.shown = places.join();
    this.element.replaceChildren(...places.map((each) => this.#way(each)));
    this.boxes = [...this.element.children].flatMap((way, at) => [...way.querySelectorAll(".actor")].map((item) => (
      { item, name: item.dataset.name, own: places[at], parts: item.querySelectorAll("em, b, .words, i") })));
  }

  #way(place) {
    const way = this.template.content.firstElementChild.cloneNode(true);
    way.querySelector("strong").textContent = place.replace("@", " at node ");
    way.addEventListener("click", (event) => {
      const item = event.target.closest(".actor");
      if (item) this.pick(item.dataset.name, place);
    });
    return way;
  }
}
