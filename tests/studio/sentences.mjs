// Says what studio's page says: reads cases as JSON, each with the lines of a run, a place and an instant; writes what is said of each.

const { breakerWords, Run, story } = await import(`${process.env.STATIC}/run.js`);
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { runs, asked } = JSON.parse(Buffer.concat(chunks));
const shown = runs.map(([begin, ...lines]) => {
  const run = new Run(begin);
  for (const line of lines) run.take(line);
  return run;
});
console.log(JSON.stringify(asked.map(({ run, place, at }) => ({ story: story(shown[run], place, at), ...breakerWords(shown[run], place, at) }))));
