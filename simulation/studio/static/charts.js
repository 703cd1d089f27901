// The curves: some panels over one axis of time, with a crosshair over all of them.

import { pieces, placeOf, WAITS } from "./run.js";
import { clock, count, digits, span, ticks, timeTicks } from "./units.js";

const LEFT = 58, RIGHT = 8, TOP = 6, BOTTOM = 4;

const perSecond = (value) => `${digits(value)}/s`;

export const PANELS = [
  { key: "rates", title: "Every second", height: 96, show: perSecond, rate: true,
    lines: [["arrived", "arrive"], ["sent", "delivered"], ["failed", "attempts fail"]] },
  { key: "waiting", title: "Waiting", height: 110, show: count, stacked: true,
    lines: [["circuit_breaker", "behind the breaker"], ["rate_limit", "rate limit"], ["backoff", "between retries"],
      ["turn", "slot or quota"], ["quiet_hours", "quiet hours"]] },
  { key: "times", title: "Delivery time", height: 96, show: span, gaps: true,
    lines: [["p99", "99 in 100 within"], ["p50", "half within"]] },
  { key: "letters", title: "Dead letters", height: 72, show: count, lines: [["dead_letters", "in the queue"]] },
];

/** What the notifications behind a curve are, as the server calls it. */
export const BEHIND = { p50: "sent", p99: "sent", dead_letters: "dead" };

const STATES = { closed: "fine", open: "bad", "forced-open": "bad", "half-open": "care" };
const STRIP = 18;

/** Of what is expected of these, there is a line. */
const DRAWN = ["delivery_time_s.p99", "delivery_time_s.p50", "dlq.peak"];

export class Charts {
  /** Draw into an element. `on` has what to do: `hover(at)`, `pick(at, name)`, `zoom(from, to)`, `resized()`. */
  constructor(element, on) {
    this.element = element;
    this.on = on;
    this.run = this.pinned = null;
    this.channel = "";
    this.view = null;
    this.cursor = 0;
    this.hover = null;
    this.panels = PANELS.map((panel) => this.#panel(panel));
    this.breakers = this.#canvas("breakers", "Circuit breakers");
    this.isDirty = false;
    this.width = element.clientWidth;
    new ResizeObserver(() => { this.width = element.clientWidth; on.resized(); this.draw(); }).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Draw as soon as the browser is about to paint. */
  draw() {
    if (this.isDirty) return;
    this.isDirty = true;
    requestAnimationFrame(() => { this.isDirty = false; this.#draw(); });
  }

  get range() { return this.view ?? [0, this.run?.end ?? 1]; }

  x(at) {
    const [from, to] = this.range;
    return LEFT + (at - from) / (to - from) * (this.width - LEFT - RIGHT);
  }

  at(x) {
    const [from, to] = this.range;
    return Math.min(to, Math.max(from, from + (x - LEFT) / (this.width - LEFT - RIGHT) * (to - from)));
  }

  #canvas(key, title) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const canvas = document.createElement("canvas"), name = document.createElement("strong");
    figure.className = "panel";
    figure.dataset.key = key;
    name.textContent = title;
    caption.append(name);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    figure.append(caption, canvas);
    this.element.append(figure);
    return { figure, caption, canvas, context: canvas.getContext("2d") };
  }

  #panel(panel) {
    const parts = this.#canvas(panel.key, panel.title);
    const values = panel.lines.map(([name, words]) => {
      const entry = document.createElement("span"), value = document.createElement("b");
      entry.className = `key ${name}`;
      entry.append(`${words} `, value);
      parts.caption.append(entry);
      return { entry, value };
    });
    this.#listen(parts.canvas, panel);
    return { ...panel, ...parts, values };
  }

  #listen(canvas, panel) {
    let from = null;
    const x = (event) => event.clientX - canvas.getBoundingClientRect().left;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      from = x(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      this.hover = this.at(x(event));
      this.selected = from !== null && Math.abs(x(event) - from) > 6 ? [from, x(event)] : null;
      this.on.hover(this.hover);
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const ends = [this.at(from), this.at(x(event))].sort((one, other) => one - other);
      const isClick = Math.abs(x(event) - from) <= 6;
      from = this.selected = null;
      if (!isClick) this.on.zoom(...ends);
      else this.on.pick(ends[0], this.#nearest(panel, ends[0], event.clientY - canvas.getBoundingClientRect().top));
      this.draw();
    });
    canvas.addEventListener("pointercancel", () => { from = this.selected = null; });
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.on.hover(null); this.draw(); });
    canvas.addEventListener("dblclick", () => this.on.zoom(null, null));
  }

  /** Return the name of the curve of a panel that is nearest to a height, where there is anything of it. */
  #nearest(panel, at, y) {
    const part = this.panels.find((each) => each.key === panel.key);
    if (!this.run || !part.scale) return panel.lines[0][0];
    let sum = 0;
    const found = panel.lines.map(([name]) => {
      const value = this.run.value(name, this.channel, at) ?? 0;
      const height = panel.rate ? value / this.run.width : value;
      const top = panel.stacked ? (sum += height) : height;
      const middle = panel.stacked ? top - height / 2 : top;
      return { name, far: value > 0 ? Math.abs(part.scale(middle) - y) : Infinity };
    });
    return found.reduce((one, other) => (other.far < one.far ? other : one)).name;
  }

  #draw() {
    if (!this.run || !this.run.width) return;
    const style = getComputedStyle(this.element);
    this.colour = (name) => style.getPropertyValue(`--${name}`);
    for (const panel of this.panels) this.#drawPanel(panel);
    this.#drawBreakers();
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
    const { context, height } = panel, axis = panel.key === "letters" ? 16 : 0;
    this.#sized(panel, height + axis);
    const [from, to] = this.range, first = this.run.bucket(from), last = this.run.bucket(to);
    const own = this.#heights(panel, this.run, first, last);
    const behind = this.pinned?.width ? this.#heights(panel, this.pinned, this.pinned.bucket(from), this.pinned.bucket(to)) : [];
    const limit = Math.max(...[...own, ...behind].map((line) => line.most), panel.rate ? 1 : panel.gaps ? 0.05 : 4);
    const scale = panel.scale = (value) => height - BOTTOM - value / limit * (height - TOP - BOTTOM);
    this.#grid(panel, limit, axis);
    if (panel.stacked) own.toReversed().forEach((line) => this.#area(panel, line));
    for (const line of behind) this.#line(panel, line, this.pinned, true);
    for (const line of own) this.#line(panel, line, this.run, false);
    this.#bounds(panel, limit);
    this.#breaches(panel.key, context, height);
    this.#marks(context, height);
    this.#values(panel);
  }

  /** Return for each line of a panel its heights over time. */
  #heights(panel, run, first, last) {
    const wait = new Float64Array(run.length);
    return panel.lines.map(([name]) => {
      const values = run.values(name, this.channel), heights = new Array(values.length);
      let most = 0, some = false;
      for (let at = 0; at < values.length; at++) {
        let value = values[at];
        if (value !== null && panel.rate) value /= run.width;
        if (value > 0) some = true;
        if (panel.stacked) value = wait[at] += value;
        heights[at] = value;
        if (at >= first && at <= last && value > most) most = value;
      }
      return { name, heights, most, some };
    });
  }

  #grid({ context, height, show, scale, gaps }, limit, axis) {
    context.fillStyle = this.colour("quiet");
    context.strokeStyle = this.colour("line");
    context.lineWidth = 1;
    context.textAlign = "right";
    for (const tick of gaps ? timeTicks(0, limit, 3) : ticks(limit, 3)) {
      const y = Math.round(scale(tick)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT, y);
      context.lineTo(this.width - RIGHT, y);
      context.stroke();
      context.fillText(show(tick), LEFT - 6, Math.min(Math.max(y + 4, 10), height - 1));
    }
    if (!axis) return;
    context.textAlign = "center";
    for (const tick of timeTicks(...this.range, this.width / 80)) {
      context.fillText(clock(tick, this.range[1] - this.range[0] < 5), Math.min(this.x(tick), this.width - 16), height + 13);
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

  #clip(context, height) {
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, this.width - LEFT - RIGHT, height);
    context.clip();
  }

  #line({ context, height, scale, stacked }, line, run, isPinned) {
    if (stacked && !line.some) return;
    this.#clip(context, height);
    context.strokeStyle = this.colour(`c-${line.name}`);
    context.globalAlpha = isPinned ? 0.55 : 1;
    context.setLineDash(isPinned ? [2, 3] : []);
    context.lineWidth = isPinned ? 1.25 : 1.75;
    this.#path(context, line.heights, run, scale);
    context.stroke();
    context.restore();
  }

  #area({ context, height, scale }, line) {
    this.#clip(context, height);
    const [left, right] = this.#path(context, line.heights, this.run, scale);
    context.lineTo(right, scale(0));
    context.lineTo(left, scale(0));
    context.fillStyle = this.colour("raised");
    context.fill();
    context.globalAlpha = 0.35;
    context.fillStyle = this.colour(`c-${line.name}`);
    context.fill();
    context.restore();
  }

  /** Draw what is expected of a curve: a line, which is red if it broke. */
  #bounds({ key, context, show, scale }, limit) {
    this.run.begin.expectations.forEach((expectation, number) => {
      const { value, op } = expectation, { panel, channel, name } = placeOf(expectation);
      if (panel !== key || channel !== this.channel || !op.startsWith("<") || !DRAWN.includes(name)) return;
      const holds = this.run.done?.summary.expectations[number].holds, y = Math.max(scale(value), TOP);
      context.save();
      context.setLineDash([6, 4]);
      context.strokeStyle = context.fillStyle = this.colour(holds === false ? "bad" : "quiet");
      context.lineWidth = 1.5;
      context.textAlign = value > limit ? "left" : "right";
      if (value > limit) context.fillText(`at most ${show(value)} ↑`, LEFT + 6, 14);
      else {
        context.beginPath();
        context.moveTo(LEFT, y);
        context.lineTo(this.width - RIGHT, y);
        context.stroke();
        context.fillText(`at most ${show(value)}`, this.width - RIGHT - 4, y < 16 ? y + 12 : y - 3);
      }
      context.restore();
    });
  }

  /** Draw red at the foot of a panel where expectations of it broke. */
  #breaches(key, context, height) {
    context.fillStyle = this.colour("bad");
    for (const { number, spans } of this.run.breaches) {
      const { panel, channel } = placeOf(this.run.begin.expectations[number]);
      if (panel !== key || (this.channel && channel !== this.channel)) continue;
      for (const [from, to] of spans) {
        const left = Math.max(LEFT, this.x(from)), right = Math.min(this.width - RIGHT, this.x(to));
        if (right >= left) context.fillRect(left, height - 3, Math.max(2, right - left), 3);
      }
    }
  }

  #marks(context, height) {
    const upright = (at, colour, dash) => {
      const x = Math.round(this.x(at)) + 0.5;
      if (x < LEFT || x > this.width - RIGHT + 1) return;
      context.save();
      context.setLineDash(dash);
      context.strokeStyle = this.colour(colour);
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, height);
      context.stroke();
      context.restore();
    };
    upright(this.cursor, "ink", []);
    if (this.hover !== null) upright(this.hover, "strong-line", [3, 3]);
    if (!this.selected) return;
    context.save();
    context.globalAlpha = 0.2;
    context.fillStyle = this.colour("accent");
    context.fillRect(Math.min(...this.selected), 0, Math.abs(this.selected[1] - this.selected[0]), height);
    context.restore();
  }

  #values(panel) {
    const at = this.hover ?? this.cursor;
    panel.lines.forEach(([name], number) => {
      const value = this.run.value(name, this.channel, at);
      const { entry, value: shown } = panel.values[number];
      entry.hidden = WAITS.includes(name) && !Array.from(this.run.values(name, this.channel)).some((each) => each > 0);
      shown.textContent = value === null ? "–" : panel.show(panel.rate ? value / this.run.width : value);
    });
  }

  #drawBreakers() {
    const names = Object.keys(this.run.begin.breakers).filter((name) => !this.channel || name.split(/[/@]/)[0] === this.channel);
    const { context, canvas, figure } = this.breakers, shown = names.slice(0, 12), height = shown.length * STRIP + 5;
    figure.hidden = !shown.length;
    this.#sized(this.breakers, height);
    context.textAlign = "right";
    const said = shown.map((name, row) => {
      const top = row * STRIP + 2;
      context.fillStyle = this.colour("quiet");
      context.fillText(name.length > 9 ? name.replace(/^[a-z]+(?=\/)/, "") : name, LEFT - 6, top + 12, LEFT - 8);
      this.#clip(context, height);
      for (const { state, from, to } of this.run.states(name)) {
        const left = this.x(from), width = Math.max(1.5, this.x(to) - left), tone = STATES[state] ?? "quiet";
        const tall = tone === "bad" ? 14 : tone === "care" ? 10 : 4;
        context.fillStyle = this.colour(tone);
        context.globalAlpha = tone === "fine" ? 0.6 : 1;
        context.fillRect(left, top + (14 - tall) / 2, width, tall);
        if (tone !== "bad" || width < 34) continue;
        context.globalAlpha = 1;
        context.fillStyle = this.colour("on-bad");
        context.textAlign = "left";
        context.fillText("open", Math.max(left, LEFT) + 4, top + 11);
        context.textAlign = "right";
      }
      context.restore();
      const now = this.run.states(name).findLast((each) => each.from <= this.cursor);
      return `${name}: ${now?.state ?? ""}`;
    });
    this.#breaches("breakers", context, height);
    this.#marks(context, height);
    canvas.setAttribute("aria-label", `Circuit breakers at the cursor: ${said.join(", ")}`);
  }
}
