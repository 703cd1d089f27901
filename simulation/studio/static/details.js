// What is shown below the curves: expectations, notifications, and how two settings compare.

import { make } from "./dom.js";
import { clock, count, span } from "./units.js";

/** Return the list of expectations: as they hold, and where they broke. */
export function expectations(run, go) {
  return run.begin.expectations.map(({ text }, number) => {
    const found = run.done?.summary.expectations[number], breach = run.breaches.find((each) => each.number === number);
    const tone = !found ? "off" : found.holds === null ? "off" : found.holds ? "fine" : "bad";
    const words = { off: found ? "undecided by one run" : "…", fine: "holds", bad: "breaks" }[tone];
    const item = make("li", { className: tone }, make("span", { className: `state ${tone}` }, words), make("code", {}, text),
      make("span", { className: "quiet" }, found ? `is ${found.value}` : ""));
    if (breach?.spans.length) {
      const button = make("button", { type: "button", className: "slight" }, breach.text);
      button.addEventListener("click", () => go(breach.spans[0][0]));
      item.append(button);
    }
    return item;
  });
}

/** Return the notifications behind a point, each with its timeline. */
export function notifications(found, title) {
  if (!found.kept) return [make("p", {}, "This run is too large to keep its notifications. Shorten its duration to see them.")];
  const heading = make("p", {}, `${title}: ${count(found.count)}`, found.count > found.shown.length ? `; the ${found.shown.length} that took longest:` : ".");
  return [heading, ...found.shown.map((each, number) => make("details", { open: number === 0 },
    make("summary", {}, make("code", {}, each.id), ` ${each.channel}, ${span(each.lasted_s)}`),
    make("ol", { className: "timeline" }, ...each.steps.map((step) => make("li", { className: step.tone },
      make("span", { className: "when" }, clock(step.at_s, true)), make("span", { className: "what" }, step.what),
      ...step.details.map((detail) => make("span", { className: "quiet small" }, detail)),
      ...(step.answer ? [make("pre", {}, step.answer)] : [])))),
    ...(each.more ? [make("p", { className: "quiet" }, `And ${each.more} more.`)] : [])))];
}

/** Return the table of how the pinned setting and this one compare. */
export function comparison({ table, done, of }) {
  const cell = (text, label) => { const made = make("td", {}, text); made.dataset.label = label; return made; };
  const rows = table.filter((row) => row.before !== row.after || row.differs).map((row) => make("tr", { className: row.differs && !row.is_small ? "differs" : "" },
    make("th", { scope: "row" }, make("code", {}, row.metric)), cell(row.before, "pinned"), cell(row.after, "now"),
    cell(row.difference, "difference"), cell(row.interval, "95% interval"), cell(row.differs ? `yes${row.is_small ? ", by less than 1%" : ""}` : "not shown", "more than chance")));
  const head = ["metric", "pinned", "now", "difference", "95% interval", "more than chance"].map((name) => make("th", { scope: "col" }, name));
  const caption = make("caption", {}, `On ${done} of ${of} common seeds `, make("span", { className: "quiet" }, "(metrics that are the same are left out)"));
  if (!rows.length) return make("p", {}, `On ${done} of ${of} common seeds every metric is the same.`);
  return make("table", { className: "stacks" }, caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}
