// The page of one scenario: its text is the one truth, and all else follows from it.

import { Actors } from "./actors.js";
import { ask, get, Large, Latest } from "./ask.js";
import { BEHIND, Charts } from "./charts.js";
import { byId, make, rendered } from "./dom.js";
import { Completion } from "./completion.js";
import { Editor } from "./editor.js";
import { Faults } from "./faults.js";
import { Knobs } from "./knobs.js";
import { jump, Run, story } from "./run.js";
import { spliced, Undo } from "./text.js";
import { clock, roundSeconds, writeDuration } from "./units.js";

const file = new URLSearchParams(location.search).get("file") ?? "";
const kept = `retrylab:${file}`;
const runs = new Latest(), others = new Latest(), comparing = new Latest();
let version = null, filed = "", undo, checking = 0, beginning = 0, run = null, cursor = 0, checked = null, session = null;
let pinned = null, tuned = null, playing = 0, leapt = 0, isHolding = false;

const PAUSE_MS = 400; // in typing, for the text to be run: 3 on the way to 30s is no setting

const editor = new Editor({ field: byId("text"), colours: byId("colours"), problems: byId("problems") }, (text) => changed(text, "typed"));
new Completion(byId("text"), byId("offered"));
const knobs = new Knobs(byId("knobs"), (path, value) => turn(`knob ${path}`, (data) => [{ splice: data.knobs.find((knob) => knob.path === path)?.splice, value }]));
const charts = new Charts(byId("charts"), { hover: () => look(), pick: (at, name) => { seek(at); behind(at, name, charts.place); }, zoom, resized: () => faults.place() });
const faults = new Faults(byId("faults"), byId("fault"), charts, {
  change: (number, at, lasts) => turn(`fault ${number}`, ({ faults: [...found] }) => [
    { splice: found[number].at, value: at }, ...(lasts === null ? [] : [{ splice: found[number].for, value: lasts }])]),
  remove: (number) => replace({ number }),
});
const actors = new Actors(byId("actors"), byId("way"), (name, place) => behind(cursor, name, place));

// ── the text ──

/** Take another text: check it, run it, and keep it. */
function changed(text, source) {
  undo.note(text, source, performance.now());
  editor.text = text;
  byId("unsaved").hidden = text === filed;
  if (source !== "opened") byId("unsaved-words").textContent = "not saved";
  byId("undo").disabled = undo.at === 0;
  byId("redo").disabled = undo.at === undo.texts.length - 1;
  stop(); // a comparison or a search would be of another text
  leapt = null;
  byId("comparison").replaceChildren();
  byId("behind").hidden = true;
  charts.isHeld = isHolding && source === session?.source;
  for (const timer of [checking, beginning]) clearTimeout(timer);
  checking = setTimeout(check, source === "opened" ? 0 : 80, text);
  byId("settings").ariaBusy = "true";
  say("off", "waits for a pause…");
  if (source === "typed") beginning = setTimeout(begin, PAUSE_MS, text); else begin(text);
}

async function check(text) {
  try {
    const found = await get("/check", { file, text });
    if (text !== editor.text) return;
    editor.show(found.problems);
    if (found.problems.length) { wrong(found.problems); return; }
    checked = { text, data: found };
    settle();
    byId("title").textContent = found.name;
    document.title = `${file}: ${found.name} · retrylab studio`;
    options("channel", ["", ...found.channels], "all channels");
    options("new-where", found.channels);
    options("search-of", found.searched);
    options("node", ["", ...Array.from({ length: found.nodes }, (_, at) => String(at + 1))], "all nodes", "node ");
    byId("node").hidden = found.nodes === 1;
    for (const each of ["channel", "node"]) charts[each] = byId(each).value; // what was shown may be gone
  } catch (error) { message(error); } finally { byId("settings").ariaBusy = text !== editor.text; } // then another goes on
}

/** Put the controls where the last text has them that could be read. */
function settle() {
  if (!checked) return;
  knobs.show(checked.data.html, checked.data.knobs);
  faults.show(structuredClone(checked.data.faults), checked.data.quiet); // bands that are dragged change
}

/** Say what is wrong with the text where people look, without most of the path; the editor has all of it. */
function wrong([{ line, text }, ...more]) {
  say("bad", `${line ? `Line ${line}: ` : ""}${text.replace(/^\S+\.(?=[^.\s\d][^.\s]*: )/, "")}${more.length ? `, and ${more.length} more` : ""}`);
  byId("expect").classList.add("is-old"); // as the picture
  byId("figures").replaceChildren(run ? make("em", {}, "The picture is of the last text that could be run.") : "");
}

function options(id, values, all, before = "") {
  const select = byId(id), now = charts[id] ?? select.value;
  select.replaceChildren(...values.map((value) => make("option", { value }, value ? before + value : all)));
  if (values.includes(now)) select.value = now;
}

/** Change values in place. What one hand does in one go starts from the text with which it began. */
async function turn(source, changes) {
  if (session?.source !== source || session.last !== editor.text) {
    const text = editor.text;
    if (checked?.text !== text) await check(text);
    if (editor.text !== text) return;
    if (checked?.text !== text) { message(new Error("Nothing was put in: the text cannot be run as it is.")); settle(); return; }
    session = { source, base: checked, last: text };
  }
  const wanted = changes(session.base.data);
  if (!wanted.every((each) => each.splice)) return;
  session.last = spliced(session.base.text, wanted);
  changed(session.last, source);
}

async function replace(what) {
  try { changed((await get("/fault", { text: editor.text, ...what })).text, "fault"); } catch (error) { message(error); }
}

// ── runs ──

function begin(text, anyway = false) {
  let next = null;
  say("off", "runs…");
  const take = (line) => {
    if (line.type === "problems") wrong(line.problems);
    else if (line.type === "begin") { next = Object.assign(new Run(line), { text }); byId("message").hidden = true; }
    else if (next) {
      next.take(line);
      show(next);
      if (line.type === "done") finished(next, text === editor.text);
    }
  };
  runs.ask({ do: "run", file, text, anyway }, take, (error) => {
    if (error instanceof Large) say("off", "not run yet"); else say("bad", "the run failed");
    message(error, (anyway) => begin(editor.text, anyway));
  });
}

function show(newest) {
  const isNew = run !== newest;
  run = charts.run = newest;
  if (isNew && newest.text === editor.text) { byId("figures").textContent = ""; byId("expect").classList.remove("is-old"); }
  if (!run.done) say("off", `runs… ${clock(run.length * run.width)} of ${clock(run.begin.duration_s)}`);
  faults.place();
  if (isNew || run.done) byId("expectations").replaceChildren(...rendered(run.list));
  draw();
}

function finished({ done: { holds, figures, end_s } }, isOfText = true) {
  const fails = holds.filter((each) => each === false).length;
  if (isOfText) say(fails ? "bad" : "fine", !holds.length ? "has run" : fails ? `${fails} of ${holds.length} expectations break` : "all expectations hold");
  if (isOfText || !byId("figures").firstElementChild) byId("figures").textContent = `${figures} Seen to ${clock(end_s)}.`;
}

function draw() {
  charts.pinned = pinned?.run ?? null;
  charts.draw();
  look();
}

function look() {
  const now = charts.cursor = Math.min(cursor, run?.end ?? cursor); // it stays where it was put, though a run may be shorter
  charts.mark();
  if (now !== leapt) byId("event").textContent = "";
  if (!run?.width) return;
  const wanted = charts.hover ?? now, at = Math.min(wanted, run.reached);
  byId("story").textContent = `${clock(at, true)}${at < wanted ? ", as far as the run has come" : ""} — ${story(run, charts.place, at)}`;
  byId("now").textContent = clock(now, true);
  byId("way-at").textContent = clock(Math.min(run.endOfStep(now), run.end), true);
  const time = byId("time");
  Object.assign(time, { max: run.end, value: now });
  time.setAttribute("aria-valuetext", byId("story").textContent);
  actors.show(run, charts.place, now);
}

// ── time ──

function seek(at) {
  cursor = Math.max(0, Math.min(at, run?.done ? run.end : Math.max(run?.end ?? 0, cursor))); // a run under way may end later than is known
  const [from, to] = charts.range;
  if (charts.view && (cursor < from || cursor > to)) zoom(Math.max(0, cursor - (to - from) / 2), Math.max(0, cursor - (to - from) / 2) + to - from);
  look();
}

function zoom(from, to) {
  const least = run ? run.width * 4 : 1;
  charts.view = from === null || to - from < least ? null : [from, to];
  byId("whole").hidden = !charts.view;
  faults.place();
  draw();
}

function play(isOn) {
  cancelAnimationFrame(playing);
  byId("play").textContent = isOn ? "Pause" : "Play";
  playing = 0;
  if (!isOn) return;
  if (cursor >= run.end - run.width) cursor = 0;
  let last = performance.now();
  const step = (now) => {
    seek(cursor + (now - last) / 1000 * Number(byId("speed").value));
    last = now;
    if (cursor >= run.end) play(false); else playing = requestAnimationFrame(step);
  };
  playing = requestAnimationFrame(step);
}

function leap(forward) {
  const found = run && jump(run.events(charts.place), byId("kind").value, cursor, forward);
  if (found) seek(found.at);
  byId("event").textContent = byId("event").title = found ? `${clock(found.at, true)}: ${found.text}` : `There is no ${forward ? "later" : "earlier"} one.`;
  leapt = charts.cursor;
}

// ── what is behind it, and beside it ──

function behind(at, name, place) {
  const part = byId("behind"), list = byId("notifications"), { width } = run, from_s = run.bucket(at) * width, to_s = from_s + width;
  part.hidden = false;
  list.replaceChildren("…");
  once({ do: "notifications", from_s, to_s, kind: BEHIND[name] ?? name, place }, (html) => {
    list.replaceChildren(...rendered(html));
    part.focus({ preventScroll: true });
    part.scrollIntoView({ block: "nearest" });
  }, (words) => { list.textContent = words; });
}

/** Have a worker do something with the text that has one answer, as HTML; until that is there, or if it is not, `waits` is called. */
function once(what, take, waits) {
  others.ask({ file, text: editor.text, ...what }, ({ html, problems }) => {
    if (html) take(html); else waits(problems ? "The text cannot be run." : "The run is done once more…");
  }, (error) => message(error, error instanceof Large ? () => once({ ...what, anyway: true }, take, waits) : null));
}

function pin(text, itsRun) {
  pinned = text === null ? null : { text, run: itsRun };
  byId("comparison").replaceChildren();
  for (const id of ["unpin", "compare", "swap"]) byId(id).hidden = !pinned;
  byId("pin").textContent = pinned ? "Pin this one instead" : "Pin this setting";
  draw();
}

/** Have a table made of many runs, and show it as it grows. */
function tabulate(what, words) {
  const place = byId("comparison");
  place.textContent = words;
  byId("stop").hidden = false;
  comparing.ask({ file, text: editor.text, ...what }, (line) => {
    tuned = line.tuned;
    place.replaceChildren(...(line.html ? rendered(line.html) : [line.problems[0].text]));
  }, (error) => message(error, error instanceof Large ? () => tabulate({ ...what, anyway: true }, words) : null), stop);
}

function stop() {
  comparing.cancel();
  byId("stop").hidden = true;
}

// ── to keep ──

function remember() {
  if (!undo) return;
  const state = { text: editor.text, version, cursor, view: charts.view, channel: charts.channel, node: charts.node, pinned: pinned?.text ?? null };
  try { sessionStorage.setItem(kept, JSON.stringify(state)); } catch { /* it is full, or off: a reload then begins anew */ }
}

function back(by) {
  const text = undo.step(by);
  if (text !== undefined) changed(text, "undo");
}

async function save() {
  const box = byId("save-as"), name = byId("name"), problem = byId("save-problem");
  try {
    const over = name.value === file ? version : null;
    const found = await get("/save", { file: name.value, text: editor.text, version: over });
    if (name.value !== file) { location.assign(`/edit?${new URLSearchParams({ file: name.value })}`); return; }
    version = found.version;
    filed = editor.text;
    byId("unsaved").hidden = true;
    message(new Error(`${file} is saved.`), null, "fine");
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    box.showModal();
  }
}

async function link() {
  const { code } = await get("/link", { text: editor.text }), address = `${location.origin}${location.pathname}${location.search}#t=${code}`;
  try { await navigator.clipboard.writeText(address); message(new Error("The link is copied. It opens this text in this studio."), null, "fine"); }
  catch { history.replaceState(null, "", address); message(new Error("The address of this page is the link now."), null, "fine"); }
}

function report() {
  say("off", "writes the report…");
  once({ do: "report" }, (html) => {
    const address = URL.createObjectURL(new Blob([html], { type: "text/html" }));
    make("a", { href: address, download: `${file.split("/").pop().replace(/\.ya?ml$/, "")}-report.html` }).click();
    URL.revokeObjectURL(address);
    finished(run);
  }, (words) => say("off", words));
}

function say(tone, text) { Object.assign(byId("status"), { className: `state ${tone}`, textContent: text, title: text }); }

/** Say something that one has to know; `again` is offered as a button. */
function message(error, again = null, tone = "bad") {
  if (error.name === "AbortError") return;
  const place = byId("message"), words = error instanceof TypeError ? "Studio does not answer. Is it still running?" : error.message;
  const isLarge = error instanceof Large, onclick = () => { place.hidden = true; again?.(isLarge); };
  const button = make("button", { type: "button", className: "slight", onclick }, isLarge ? "Run all the same" : again ? "Run again" : "Close");
  place.className = `note ${tone}`;
  place.replaceChildren(`${words} `, button);
  place.hidden = false;
}

// ── hands ──

const on = (id, kind, what) => byId(id).addEventListener(kind, what);
on("undo", "click", () => back(-1));
on("redo", "click", () => back(1));
on("discard", "click", () => changed(filed, "discard"));
on("link", "click", () => link().catch(message));
on("report", "click", report);
on("save", "click", () => { byId("name").value = file.replace(/\.trace(\.gz)?$/, ".yaml"); byId("save-problem").hidden = true; byId("save-as").showModal(); });
if (innerWidth < 900) byId("settings").open = false;
on("save-as", "close", () => { if (byId("save-as").returnValue === "save") save(); });
on("play", "click", () => play(!playing));
on("time", "input", () => { play(false); seek(Number(byId("time").value)); });
on("time", "keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20 }[event.key];
  if (by && run) { event.preventDefault(); seek((Math.floor((run.done ? charts.cursor : cursor) / run.width) + by) * run.width + run.width / 2); }
});
on("expectations", "click", ({ target }) => { if (target.dataset.at) seek(Number(target.dataset.at)); });
on("previous", "click", () => leap(false));
on("next", "click", () => leap(true));
for (const each of ["channel", "node"]) on(each, "change", ({ target }) => { charts[each] = target.value; draw(); });
on("whole", "click", () => zoom(null, null));
on("pin", "click", () => pin(editor.text, run));
on("unpin", "click", () => pin(null, null));
on("swap", "click", () => changed(pinned.text, "swap"));
on("compare", "click", () => tabulate({ do: "compare", pinned: pinned.text, replicates: 10 }, "Runs both on the same seeds…"));
on("rank", "click", () => tabulate({ do: "rank", metric: byId("rank-by").value }, "Turns one setting after the other…"));
on("search", "click", () => tabulate({ do: "search", metric: byId("rank-by").value, channel: byId("search-of").value }, "Begins to search…"));
on("stop", "click", () => { stop(); byId("comparison").append("Stopped."); });
on("comparison", "click", ({ target }) => { if ("put" in target.dataset) changed(tuned, "search"); });
on("add-fault", "submit", (event) => {
  event.preventDefault();
  const lasts = roundSeconds(run.begin.duration_s / 10), at = Math.round(Math.min(cursor, run.begin.duration_s - lasts));
  replace({ entry: `{channel: ${byId("new-where").value}, at: ${writeDuration(Math.max(0, at))}, for: ${writeDuration(lasts)}, ${byId("new-what").value}}` });
});
for (const holds of ["pointerdown", "keydown"]) addEventListener(holds, () => { isHolding = true; }, true);
for (const letsGo of ["pointerup", "pointercancel", "keyup", "focusout", "change"]) addEventListener(letsGo, ({ type, target }) => {
  if (type === "change" && target.type === "range") return; // each step of a key that is held down makes one
  isHolding = charts.isHeld = false;
  draw();
});
addEventListener("pagehide", remember);
addEventListener("keydown", (event) => {
  const isZ = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
  if (isZ) { event.preventDefault(); back(event.shiftKey ? 1 : -1); }
  if (event.key === " " && !event.target.closest("input:not([type=range]), textarea, select, button, summary, a, dialog") && run) { event.preventDefault(); play(!playing); }
});

async function open() {
  byId("file").textContent = byId("title").textContent = document.title = file;
  try {
    const found = await get(`/file?${new URLSearchParams({ file })}`);
    const code = location.hash.match(/^#t=(.+)$/)?.[1];
    const state = JSON.parse(sessionStorage.getItem(kept) ?? "{}");
    version = (code ? null : state.version) ?? found.version; // of the file as it was when this text was taken from it
    undo = new Undo(found.text);
    filed = found.text;
    let text = state.text ?? found.text;
    if (code) { ({ text } = await get("/link", { code })); history.replaceState(null, "", location.pathname + location.search); }
    else Object.assign(charts, { view: state.view ?? null, channel: state.channel ?? "", node: state.node ?? "" });
    cursor = state.cursor ?? 0;
    byId("whole").hidden = !charts.view;
    byId("unsaved-words").textContent = code ? "from a link, not saved" : "of an earlier visit, not saved";
    changed(text, "opened");
    if (state.pinned && !code) {
      pin(state.pinned, null);
      let behindIt = null;
      ask({ do: "run", file, text: state.pinned }, (line) => {
        if (line.type === "begin") behindIt = new Run(line); else behindIt?.take(line);
        if (line.type === "done" && pinned) { pinned.run = behindIt; draw(); }
      }).catch(() => {}); // then it has no curves
    }
  } catch (error) { message(error); }
}

open();
