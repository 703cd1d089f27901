// The curves: some panels over one axis of time, with a crosshair over all of them.

import { make } from "./dom.js";
import { breakersAt, pieces, stateWords } from "./run.js";
import { clock, count, digits, span, ticks, timeTicks } from "./units.js";

const LEFT = 58, RIGHT = 8, TOP = 6, BOTTOM = 4;

const PANELS = { // how high each is, and how its values are shown; its curves are named in the page
  rates: { height: 96, least: 1, show: (value) => `${digits(value)}/s`, rate: true }, waiting: { height: 110, least: 4, show: count, stacked: true },
  times: { height: 96, least: 0.05, show: span, gaps: true }, letters: { height: 72, least: 4, show: count, axis: 16 },
};

/** What the notifications behind a curve are, as the server calls it. */
export const BEHIND = { p50: "arrived", p99: "arrived", dead_letters: "dead" };

/** What tells curves apart that have the same grey: marks on lines, hatching of areas; their keys have the same in the style sheet. */
const MARKS = { sent: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z", failed: "M-5,4H5L0,-5Z", refused: "M-4,-4H4V4H-4Z", requests: "M-4,-5V5L5,0Z", p99: "M0,-5.5L5.5,0L0,5.5L-5.5,0Z" };
const HATCHES = { rate_limit: "M-1,9L9,-1", backoff: "M-1,-1L9,9", turn: "M4,0V8", quiet_hours: "M0,4H8" };
const AREAS = ["arrived"]; // under lines
const MARK_EVERY = 72, LANE = 17; // pixels

const STATES = { closed: "fine", open: "bad", "forced-open": "bad", "half-open": "care" };
const STRIP = 18;

export class Charts {
  /** Draw into the figures of an element. `on` has what to do: `hover()`, `pick(at, name)`, `zoom(from, to)`, `resized()`. */
  constructor(element, on) {
    Object.assign(this, { element, on, run: null, pinned: null, channel: "", node: "", view: null, cursor: 0, hover: null, selected: null });
    this.panels = Object.entries(PANELS).map(([key, panel]) => ({ ...panel, ...this.#part(key) }));
    for (const panel of this.panels) this.#listen(panel);
    this.breakers = this.#part("breakers");
    this.marks = [...element.querySelectorAll("i.mark")];
    this.isDirty = this.isHeld = false; // as long as something is turned, scales grow where they have to, and nothing else
    this.width = element.clientWidth;
    new ResizeObserver(() => { this.width = element.clientWidth; on.resized(); this.draw(); }).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  draw() {
    this.isStale = true;
    this.mark();
  }

  mark() {
    if (this.isDirty) return;
    this.isDirty = true;
    requestAnimationFrame(() => { this.isDirty = false; this.#draw(); });
  }

  /** What is shown: a channel, a node, or both; empty for all. */
  get place() { return this.channel + (this.node && `@${this.node}`); }

  get range() { return this.view ?? [0, this.run?.end ?? 1]; }

  x(at) {
    const [from, to] = this.range;
    return LEFT + (at - from) / (to - from) * (this.width - LEFT - RIGHT);
  }

  at(x) {
    const [from, to] = this.range;
    return Math.min(to, Math.max(from, from + (x - LEFT) / (this.width - LEFT - RIGHT) * (to - from)));
  }

  #part(key) {
    const figure = this.element.querySelector(`[data-key=${key}]`), canvas = figure.querySelector("canvas");
    const lines = [...figure.querySelectorAll(".key")].map((entry) => ({ entry, name: entry.dataset.name, value: entry.querySelector("b") }));
    return { key, figure, canvas, context: canvas.getContext("2d"), lines, title: figure.querySelector("strong").textContent };
  }

  #listen(panel) {
    const { canvas } = panel;
    let from = null;
    const place = (event) => [event.clientX - canvas.getBoundingClientRect().left, event.clientY - canvas.getBoundingClientRect().top];
    const isDrag = (x) => from !== null && Math.abs(x - from) > 6;
    const on = { // what each kind of event does
      pointerdown: (event) => {
        if (event.button) return;
        [from] = place(event);
        canvas.setPointerCapture(event.pointerId);
      },
      pointermove: (event) => {
        const [x] = place(event);
        this.hover = this.at(x);
        this.selected = isDrag(x) ? [from, x].sort((one, other) => one - other).map((each) => this.at(each)) : null;
      },
      pointerup: (event) => {
        const [x, y] = place(event), { selected } = this;
        if (from === null) return;
        from = this.selected = null;
        if (selected) this.on.zoom(...selected); else this.on.pick(this.at(x), this.#nearest(panel, this.at(x), y));
      },
      pointercancel: () => { from = this.selected = null; },
      pointerleave: () => { this.hover = null; },
      dblclick: () => this.on.zoom(null, null),
    };
    for (const [kind, act] of Object.entries(on)) canvas.addEventListener(kind, (event) => { act(event); this.on.hover(); });
  }

  /** Return the name of the curve of a panel that is nearest to a height, where there is anything of it. */
  #nearest(panel, at, y) {
    if (!panel.scale) return panel.lines[0].name;
    let sum = 0;
    const found = panel.lines.map(({ name }) => {
      const value = this.run.value(name, this.place, at) ?? 0;
      const height = panel.rate ? value / this.run.width : value;
      const top = panel.stacked ? (sum += height) : height;
      const middle = panel.stacked ? top - height / 2 : top;
      return { name, far: value > 0 ? Math.abs(panel.scale(middle) - y) : Infinity };
    });
    return found.reduce((one, other) => (other.far < one.far ? other : one)).name;
  }

  #draw() {
    if (!this.run || !this.run.width) return;
    if (this.isStale) {
      const style = getComputedStyle(this.element);
      this.colour = (name) => style.getPropertyValue(`--${name}`);
      for (const panel of this.panels) this.#drawPanel(panel);
      this.#drawBreakers();
      this.isStale = false;
    }
    const [cursor, hover, selection] = this.marks;
    this.#place(cursor, this.cursor);
    this.#place(hover, this.hover);
    this.#place(selection, ...(this.selected ?? [null]));
    for (const panel of this.panels) this.#values(panel);
    const said = this.names.map((name) => `${name}: ${stateWords(this.run.stateAt(name, this.cursor))}`);
    this.breakers.canvas.setAttribute("aria-label", `Circuit breakers at the cursor: ${said.join(", ")}`);
  }

  #place(mark, from, to = from) {
    const left = this.x(from), width = Math.max(1, this.x(to) - left);
    mark.hidden = from === null || left < LEFT - 1 || left > this.width - RIGHT + 1;
    Object.assign(mark.style, { left: `${left}px`, width: `${width}px` });
  }

  #sized({ canvas, context }, height) {
    const scale = devicePixelRatio || 1, [width, tall] = [Math.round(this.width * scale), Math.round(height * scale)];
    if (canvas.width !== width || canvas.height !== tall) { [canvas.width, canvas.height] = [width, tall]; }
    canvas.style.height = `${height}px`;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.width, height);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1.5;
  }

  #drawPanel(panel) {
    const { context, height, axis = 0 } = panel;
    this.#sized(panel, height + axis);
    const [from, to] = this.range, first = this.run.bucket(from), last = this.run.bucket(to);
    const own = this.#heights(panel, this.run, first, last);
    const behind = this.pinned?.width ? this.#heights(panel, this.pinned, this.pinned.bucket(from), this.pinned.bucket(to)) : [];
    const most = Math.max(...[...own, ...behind].map((line) => line.most), panel.least);
    const limit = panel.limit = this.isHeld ? Math.max(most, panel.limit) : most;
    const lane = panel.lane = [...own, ...behind].some((line) => line.never) || (this.isHeld && panel.lane) ? LANE : 0;
    panel.scale = (value) => (value === Infinity ? TOP + LANE / 2 : height - BOTTOM - value / limit * (height - TOP - BOTTOM - lane));
    panel.canvas.setAttribute("aria-label", `${panel.title}, from 0 to ${panel.show(limit)}${lane ? ", and never" : ""}`);
    this.#grid(panel, limit, axis);
    for (const line of panel.stacked ? own.toReversed() : own.filter(({ name }) => AREAS.includes(name))) this.#area(panel, line);
    if (panel.stacked) own.forEach(({ some }, number) => { panel.lines[number].entry.hidden = !some; });
    for (const line of behind) this.#line(panel, line, this.pinned, true);
    for (const line of own) this.#line(panel, line, this.run, false);
    this.#bounds(panel, limit);
    this.#breaches(panel.key, context, height);
  }

  /** Return for each line of a panel its heights over time. */
  #heights(panel, run, first, last) {
    const wait = new Float64Array(run.length);
    return panel.lines.map(({ name }) => {
      const values = run.values(name, this.place), heights = new Array(values.length), below = wait.slice();
      let most = 0, some = false, never = false;
      for (let at = 0; at < values.length; at++) {
        let value = values[at] !== null && panel.rate ? values[at] / run.width : values[at];
        if (value > 0) some = true;
        if (panel.stacked) value = wait[at] += value;
        heights[at] = value;
        if (at < first || at > last) continue;
        if (value === Infinity) never = true; else if (value > most) most = value;
      }
      return { name, heights, below, most, some, never };
    });
  }

  #grid({ context, height, show, scale, gaps, lane }, limit, axis) {
    Object.assign(context, { fillStyle: this.colour("quiet"), strokeStyle: this.colour("line"), lineWidth: 1, textAlign: "right" });
    for (const tick of gaps ? timeTicks(0, limit, 3) : ticks(limit, 3)) {
      const y = Math.round(scale(tick)) + 0.5;
      this.#stroke(context, [LEFT, y], [this.width - RIGHT, y]);
      context.fillText(show(tick), LEFT - 6, Math.min(Math.max(y + 4, 10), height - 1));
    }
    if (lane) { // above all times, as never is longer than any
      context.fillText("never", LEFT - 6, scale(Infinity) + 4);
      this.#pen(context, "quiet", { dash: [1, 3] }, () => this.#stroke(context, [LEFT, TOP + LANE], [this.width - RIGHT, TOP + LANE]));
    }
    if (!axis) return;
    context.textAlign = "center";
    for (const tick of timeTicks(...this.range, this.width / 80)) {
      const text = clock(tick, this.range[1] - this.range[0] < 5), half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(this.x(tick), this.width - half), height + 13);
    }
  }

  #path(context, heights, run, scale) {
    const first = Math.max(0, run.bucket(this.range[0]) - 1), last = Math.min(run.length - 1, run.bucket(this.range[1]) + 1);
    context.beginPath();
    for (const [from, to] of pieces(heights, first, last)) {
      context.moveTo(this.x(from * run.width), scale(heights[from]));
      for (let at = from; at <= to; at++) context.lineTo(this.x((at + 0.5) * run.width), scale(heights[at]));
      context.lineTo(Math.max(this.x((to + 1) * run.width), this.x(from * run.width) + 1.5), scale(heights[to]));
    }
    return [this.x(first * run.width), this.x((last + 1) * run.width)];
  }

  /** Draw with a colour, and with other properties of a context; nothing beside the axes if `height` is given. */
  #pen(context, colour, { dash = [], height, ...more }, draw) {
    context.save();
    if (height) {
      context.beginPath();
      context.rect(LEFT, 0, this.width - LEFT - RIGHT, height);
      context.clip();
    }
    context.setLineDash(dash);
    context.strokeStyle = context.fillStyle = this.colour(colour);
    draw(Object.assign(context, more));
    context.restore();
  }

  #stroke(context, ...points) {
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
  }

  #line({ context, height, scale, stacked }, line, run, isPinned) {
    const seen = stacked ? line.heights.map((top, at) => (scale(line.below[at]) - scale(top) < 1 ? null : top)) : line.heights; // bands that are too thin have no edge
    const look = AREAS.includes(line.name) && !isPinned ? { lineWidth: 0.75 } : isPinned ? { dash: [2, 3], globalAlpha: 0.55, lineWidth: 1.25 } : { lineWidth: 1.75 };
    this.#pen(context, `c-${line.name}`, { height, ...look }, () => {
      this.#path(context, seen, run, scale);
      context.stroke();
      if (!isPinned && MARKS[line.name]) this.#marks(context, line.name, seen, run, (value) => Math.min(scale(value), height - 9)); // above the foot, where it is red
    });
  }

  #marks(context, name, heights, run, scale) {
    const mark = new Path2D(MARKS[name]), first = LEFT + 8 + 14 * Object.keys(MARKS).indexOf(name); // else marks of curves that meet hide each other
    for (let at = run.bucket(this.range[0]), next = first; at <= run.bucket(this.range[1]); at++) {
      const x = this.x((at + 0.5) * run.width);
      if (x < next || heights[at] === null || heights[at] === undefined) continue;
      next = x + MARK_EVERY;
      context.save();
      context.translate(x, scale(heights[at]));
      Object.assign(context, { lineWidth: 3, strokeStyle: this.colour("raised") }).stroke(mark);
      context.fill(mark);
      context.restore();
    }
  }

  #area({ context, height, scale }, line) {
    this.#pen(context, "raised", { height }, () => {
      const [left, right] = this.#path(context, line.heights, this.run, scale);
      context.lineTo(right, scale(0));
      context.lineTo(left, scale(0));
      context.fill();
      Object.assign(context, { globalAlpha: 0.35, fillStyle: this.colour(`c-${line.name}`) });
      context.fill();
      if (!HATCHES[line.name]) return;
      const tile = make("canvas", { width: 8, height: 8 }), pen = tile.getContext("2d");
      Object.assign(pen, { strokeStyle: this.colour(`c-${line.name}`), lineWidth: 1.5 }).stroke(new Path2D(HATCHES[line.name]));
      Object.assign(context, { globalAlpha: 0.7, fillStyle: context.createPattern(tile, "repeat") }).fill();
    });
  }

  /** Draw what is expected of a curve: a line, which is red if it broke. */
  #bounds({ key, context, show, scale, lane }, limit) {
    this.run.begin.expectations.forEach(({ panel, channel, bound }, number) => {
      if (panel !== key || channel !== this.place || bound === null) return;
      const holds = this.run.done?.holds[number], y = Math.max(scale(bound), TOP), isAbove = bound > limit, text = `at most ${show(bound)}`;
      this.#pen(context, holds === false ? "bad" : "quiet", { dash: [6, 4], lineWidth: 1.5, textAlign: isAbove ? "left" : "right" }, () => {
        if (isAbove) {
          Object.assign(context, { globalAlpha: 0.85, fillStyle: this.colour("raised") }).fillRect(LEFT + 4, 3 + lane, context.measureText(`${text} ↑`).width + 4, 14);
          return Object.assign(context, { globalAlpha: 1, fillStyle: context.strokeStyle }).fillText(`${text} ↑`, LEFT + 6, 14 + lane);
        }
        this.#stroke(context, [LEFT, y], [this.width - RIGHT, y]);
        context.fillText(text, this.width - RIGHT - 4, y < 16 ? y + 12 : y - 3);
      });
    });
  }

  #breaches(key, context, height) {
    context.fillStyle = this.colour("bad");
    for (const { number, spans } of this.run.breaches) {
      const { panel, channel } = this.run.begin.expectations[number];
      if (panel !== key || (this.channel && channel !== this.channel)) continue;
      for (const [from, to] of spans) {
        const left = Math.max(LEFT, this.x(from)), right = Math.min(this.width - RIGHT, this.x(to));
        if (right >= left) context.fillRect(left, height - 3, Math.max(2, right - left), 3);
      }
    }
  }

  #values({ lines, show, rate }) {
    for (const { entry, name, value } of lines) {
      if (name === "rate_limit") entry.firstChild.data = `${this.run.limit(this.place).replace(/^the /, "")} `;
      const now = this.run.value(name, this.place, this.hover ?? this.cursor);
      value.textContent = now === null ? "–" : show(rate ? now / this.run.width : now);
    }
  }

  #drawBreakers() {
    const { context, figure } = this.breakers, shown = this.names = breakersAt(this.run, this.place).slice(0, 12), height = shown.length * STRIP + 5;
    figure.hidden = !shown.length;
    this.#sized(this.breakers, height);
    shown.forEach((name, row) => {
      const top = row * STRIP + 2;
      this.#pen(context, "quiet", { textAlign: "right" }, () => context.fillText(name.length > 9 ? name.replace(/^[a-z]+(?=\/)/, "") : name, LEFT - 6, top + 12, LEFT - 8));
      this.#pen(context, "quiet", { height, textAlign: "left" }, () => {
        for (const { state, from, to } of this.run.states(name)) {
          const left = this.x(from), width = Math.max(1.5, this.x(to) - left), tone = STATES[state] ?? "quiet";
          const tall = tone === "bad" ? 14 : tone === "care" ? 10 : 4;
          Object.assign(context, { fillStyle: this.colour(tone), globalAlpha: tone === "fine" ? 0.6 : 1 });
          const said = stateWords(state), room = width - context.measureText(said).width - 8;
          if (tone === "quiet") { // nothing is watched, or nothing comes of it, or there is none as its node is down
            if (room > 0 || state !== "down") context.fillText(said, Math.max(left, LEFT) + 4, top + 11);
            context.setLineDash([2, 4]);
            if (room > 0 && state !== "down") this.#stroke(context, [left + width - room, top + 7], [left + width, top + 7]);
            continue;
          }
          context.fillRect(left, top + (14 - tall) / 2, width, tall);
          context.fillStyle = this.colour("on-bad");
          if (tone === "bad" && room > 0) context.fillText(said, Math.max(left, LEFT) + 4, top + 11);
        }
      });
    });
    this.#breaches("breakers", context, height);
  }
}
