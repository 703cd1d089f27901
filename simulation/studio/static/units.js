// How quantities are shown, and how they are written in a scenario. Pure.

/** Return a number with at most so many significant digits, and no zeros behind them. */
export const digits = (value, most = 3) => String(Number(value.toPrecision(most)));

/** Return a duration as a scenario writes it: 2m, 90s, 0.25s. */
export const writeDuration = (seconds) => (seconds >= 120 && seconds % 60 === 0 ? `${seconds / 60}m` : `${digits(seconds, 9)}s`);

/** Return a duration to be read: 412 ms, 3.2 s, 4 min, never. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds === Infinity) return "never";
  const sizes = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1], ["ms", 0.001]];
  const [name, of] = sizes.find(([, size]) => Math.abs(seconds) >= size * 0.9995) ?? sizes.at(-1);
  return `${digits(seconds / of)} ${name}`;
}

/** Return an instant of a run: 0:07.5, 12:05, 1:02:05. */
export function clock(seconds, fine = false) {
  const tenths = Math.round(seconds * 10), whole = fine ? Math.floor(tenths / 10) : Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const text = hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  return fine && tenths % 10 ? `${text}.${tenths % 10}` : text;
}

export const count = (value) => Math.round(value).toLocaleString("en");

/** Return at most so many round numbers from 0 to a limit. */
export function ticks(limit, most) {
  if (!(limit > 0)) return [0];
  const rough = limit / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.9999);
  return Array.from({ length: Math.floor(limit / step + 1e-9) + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}

const STEPS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** Return a round number of seconds that is at least so many. */
export const roundSeconds = (seconds) => STEPS_S.find((each) => each >= seconds * 0.9999) ?? Math.ceil(seconds / 86400) * 86400;

/** Return the instants between two others that an axis shows, at most so many. */
export function timeTicks(from, to, most) {
  const step = roundSeconds((to - from) / most), found = [];
  for (let at = Math.ceil(from / step); at * step <= to; at++) found.push(at * step);
  return found;
}
