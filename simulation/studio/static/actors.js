// The way of a notification as a graph of actors, with what waits at each.

import { make } from "./dom.js";
import { shut } from "./run.js";
import { count, digits } from "./units.js";

/** Of each channel, in the order of the way: name, what is at it, and whether it is a rate. */
const PARTS = [
  ["Handler", "arrived", "arrive", true], ["Limiter", "rate_limit", "wait"], ["Quiet hours", "quiet_hours", "wait"],
  ["Breaker", "circuit_breaker", "wait"], ["Channel", "turn", "wait"], ["Provider", "under_way", "under way"],
  ["Delivered", "sent", "leave", true], ["Backoff", "backoff", "wait"], ["Dead letters", "dead_letters", "in the queue"],
];
const ALWAYS = ["arrived", "circuit_breaker", "under_way", "sent", "backoff", "dead_letters"];

export class Actors {
  /** Show them in an element; `pick(name, channel)` is called with what somebody wants to see. */
  constructor(element, pick) {
    this.element = element;
    this.pick = pick;
    this.run = null;
  }

  /** Show how they stand at an instant. */
  show(run, channel, at) {
    this.#build(run, channel);
    for (const box of this.boxes) {
      const value = run.value(box.name, box.channel, at) ?? 0;
      box.number.textContent = box.isRate ? `${digits(value / run.width)}/s` : count(value);
      box.bar.style.width = `${box.most ? 100 * value / box.most : 0}%`;
      box.element.classList.toggle("idle", !value);
      if (box.name !== "circuit_breaker") continue;
      box.state.textContent = box.element.dataset.state = shut(run, box.channel, at);
      box.words.textContent = value && box.state.textContent === "closed" ? " drain behind it" : " wait";
    }
  }

  /** Make the boxes, where there are other ones than before, and measure their bars anew as a run goes on. */
  #build(run, channel) {
    if (run === this.run && channel === this.channel && run.length === this.length) return;
    Object.assign(this, { run, channel, length: run.length });
    const ways = (channel ? [channel] : run.channels).map((each) => [each,
      PARTS.filter(([, name]) => ALWAYS.includes(name) || run.values(name, each).some((value) => value > 0))]);
    const shown = JSON.stringify(ways);
    if (shown !== this.shown) {
      Object.assign(this, { shown, boxes: [] });
      this.element.replaceChildren(...ways.map(([each, parts]) => make("li", { className: "way" }, make("strong", {}, each),
        make("ol", {}, ...parts.map((part) => this.#box(each, ...part))))));
    }
    for (const box of this.boxes) box.most = run.values(box.name, box.channel).reduce((one, other) => Math.max(one, other ?? 0), 0);
  }

  #box(channel, title, name, words, isRate) {
    const number = make("b"), bar = make("i"), state = make("em"), said = make("span", {}, ` ${words}`);
    const button = make("button", { type: "button", title: `Show the notifications: ${title}, ${channel}` },
      make("span", {}, title, " ", state), make("span", { className: "now" }, number, said), make("span", { className: "bar" }, bar));
    button.addEventListener("click", () => this.pick(name, channel));
    const element = make("li", { className: `actor ${name}` }, button);
    this.boxes.push({ element, number, bar, state, words: said, name, channel, isRate });
    return element;
  }
}
