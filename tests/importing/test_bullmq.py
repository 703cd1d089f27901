"""Job options of BullMQ and Bull: what was imported, beside the formulas of the libraries' own source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from effort import examples
from hypothesis import given, settings, strategies as st
from imported import one, read, starts

from actors.errors import ConfigurationError

TABLES = tables(__file__)
BULLMQ = "import { Queue, Worker, FlowProducer, UnrecoverableError } from 'bullmq';\nconst q = new Queue('q', {});\n"
BULL = "const Queue = require('bull');\nconst q = new Queue('q');\n"


def by_bullmq(attempts: float, kind: str | None, delay: float, jitter: float, *, at_most: bool) -> list[float]:
    """Return starts in seconds by `Backoffs.builtinStrategies` and `Job.shouldRetryJob` of BullMQ 6.2."""
    found, made = [0.0], 0
    while made + 1 < attempts:
        made += 1
        wait = {None: 0.0, "fixed": delay, "exponential": float(round(2 ** (made - 1) * delay))}[kind]
        least = wait * (1 - jitter)
        found.append(found[-1] + (least + (wait * jitter if at_most else 0.0)) / 1000)
    return found


def by_bull(attempts: int, kind: str, delay: int) -> list[float]:
    """Return starts in seconds by `lib/backoffs.js` and `Job.prototype.moveToFailed` of Bull 4.15."""
    found = [0.0]
    for made in range(1, max(1, attempts)):
        found.append(found[-1] + ((2**made - 1) * delay if kind == "exponential" else delay) / 1000)
    return found


@given(
    st.integers(0, 12),
    st.sampled_from(["fixed", "exponential"]),
    st.integers(1, 90_000),
    st.sampled_from([0, 0.1, 0.5, 0.75, 1]),
)
@settings(max_examples=examples(200), deadline=None)
def test_starts_are_those_of_bullmq(attempts: int, kind: str, delay: int, jitter: float) -> None:
    backoff = {"type": kind, "delay": delay, **({"jitter": jitter} if jitter else {})}
    text = f"{BULLMQ}q.add('x', {{}}, {json.dumps({'attempts': attempts, 'backoff': backoff})});\n"
    ours = starts(one("bullmq", text, names=["a.ts"]))
    for place, at_most in ((0, False), (1, True)):
        theirs = by_bullmq(attempts, kind, delay, jitter, at_most=at_most)
        assert [each[place] for each in ours] == pytest.approx(theirs, rel=1e-6)


@given(st.integers(0, 10), st.sampled_from(["fixed", "exponential"]), st.integers(1, 90_000))
@settings(max_examples=examples(100), deadline=None)
def test_starts_are_those_of_bull(attempts: int, kind: str, delay: int) -> None:
    options = json.dumps({"attempts": attempts, "backoff": {"type": kind, "delay": delay}})
    ours = starts(one("bullmq", f"{BULL}q.add({{}}, {options});\n", names=["a.js"]))
    assert [each[0] for each in ours] == pytest.approx(by_bull(attempts, kind, delay), rel=1e-6)


@over_each(TABLES["marks"])
def test_each_option_has_its_mark(row: dict[str, Any]) -> None:
    found = one("bullmq", BULLMQ + row["text"], names=["a.ts"], given=row.get("given"))
    said = {each.text: f"{each.mark.value}: {each.reason}" for each in found.findings}
    for text, mark in row["marks"].items():
        assert said.get(text, "no finding").startswith(mark), said
    assert (found.channel or {}).get("retry") == row.get("retry")
    assert [each.name for each in found.questions] == row.get("asks", [])


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in TABLES["queues"]])
def test_options_of_a_queue_that_stand_elsewhere_are_not_made_up(row: dict[str, Any]) -> None:
    found = one("bullmq", f"import {{ Queue }} from 'bullmq';\n{row['text']};\n", names=["a.ts"])
    assert (found.channel and found.channel["retry"]["max_attempts"]) == row.get("attempts")
    said = [f"{each.mark.value}: {each.reason}" for each in found.findings]
    assert "reason" not in row or any(each.startswith(row["reason"]) for each in said), said


def test_jobs_go_over_their_queue_and_a_flow_takes_nothing_of_it() -> None:
    text = """
    import { LIMITS } from './limits';
    const defaults = { attempts: LIMITS.usual, backoff: { type: 'exponential', delay: 60 * 1_000 } } as const;
    export const mails = new Queue('mails', { defaultJobOptions: defaults });
    mails.add('plain', {});
    mails.add('own', {}, { backoff: 250 });
    mails.addBulk([{ name: 'bulk', data: {}, opts: { ...defaults, attempts: 2 } }]);
    const flows = new FlowProducer();
    const kid = { name: 'kid', queueName: 'mails', opts: { attempts: 5 } };
    flows.add({ name: 'root', queueName: 'mails', children: [kid] });
    """
    texts = (BULLMQ + text, "export enum LIMITS { usual = 4, rare }\n")
    found = {name: each.channel for name, each in read("bullmq", *texts, names=["a.ts", "limits.ts"]).items()}
    assert [each and each["retry"]["max_attempts"] for each in found.values()] == [1, 4, 4, 2, 5, 1]
    assert list(found) == ["q", "mails", "mails:own", "mails:bulk", "mails:kid", "mails:root"]
    assert [each[0] for each in starts(found["mails"] or {})] == [0, 60, 180, 420]
    assert [each[0] for each in starts(found["mails:own"] or {})] == [0, 0.25, 0.5, 0.75]
    assert [each[0] for each in starts(found["mails:kid"] or {})] == [0, 0, 0, 0, 0]


def test_an_error_that_ends_its_job_is_of_the_queue_whose_worker_throws_it() -> None:
    text = """
    const options = { defaultJobOptions: { attempts: 3, backoff: 10 } };
    new Queue('a', options); new Queue('b', options); new Queue('c', options); new Queue('d', options);
    new Worker('a', async (job) => send(job));
    new Worker('b', async (job) => { console.log(job.id); throw new UnrecoverableError('never'); });
    new Worker('c', ofC, {});
    async function ofC(job) { if (job.data.bad) { throw new UnrecoverableError('bad'); } await send(job); }
    new Worker('d', async () => { throw new UnrecoverableError('d'); });
    new Worker('d', async (job) => { await send(job); throw new UnrecoverableError('sent'); });
    """
    found = read("bullmq", BULLMQ + text, names=["a.ts"])
    attempts = {name: each.channel and each.channel["retry"]["max_attempts"] for name, each in found.items()}
    assert attempts == {"q": 1, "a": 3, "b": 1, "c": 3, "d": 3}
    lines = {
        name: [(each.line, each.mark.value) for each in policy.findings if "UnrecoverableError" in each.reason]
        for name, policy in found.items()
    }
    ends = "cannot be said"
    assert lines == {"q": [], "a": [], "b": [(7, "exact")], "c": [(9, ends)], "d": [(10, ends)]}


STRATEGY = """
const WINDOWS = [1000, 5000];
new Worker('q', run, { settings: { backoffStrategy: (made: number, type?: string) => {
  console.log('again', made);
  switch (type) {
    case 'table': return WINDOWS[made - 1] ?? 60_000;
    case 'capped': { const wait = Math.pow(2, made) * 1000; return Math.min(wait, 5 * 60 * 1000); }
    case 'drawn': return Math.round(500 + Math.random() * 500);
    case 'never': return made > 2 ? -1 : 10;
    default: throw new Error('no');
  }
} } });
"""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("table", [(0, 0), (1, 1), (6, 6), (66, 66), (126, 126)]),
        ("capped", [(0, 0), (2, 2), (6, 6), (14, 14), (30, 30)]),
        ("drawn", [(0, 0), (0.5, 1), (1, 2), (1.5, 3), (2, 4)]),
        ("never", [(0, 0), (0.01, 0.01), (0.02, 0.02)]),
        ("other", None),
    ],
)
def test_a_strategy_of_the_file_is_worked_out(kind: str, expected: list[tuple[float, float]] | None) -> None:
    text = f"{BULLMQ}{STRATEGY}q.add('x', {{}}, {{ attempts: 5, backoff: {{ type: '{kind}' }} }});"
    found = one("bullmq", text, names=["a.ts"])
    assert (found.channel and starts(found)) == expected


def test_nest_registers_queues_and_processors() -> None:
    text = """
    import { BullModule, InjectQueue, Processor } from '@nestjs/bull';
    @Module({ imports: [BullModule.registerQueue({ name: 'sms', defaultJobOptions: { attempts: 3, backoff: 100 } })] })
    export class App { constructor(@InjectQueue('sms') private readonly sms: Queue) {}
      send() { return this.sms.add('now', {}, { attempts: 2, timeout: 5000 }); } }
    """
    found = read("bullmq", text, names=["app.module.ts"])
    channels = {name: each.channel for name, each in found.items()}
    waits = {"backoff": "constant", "initial_delay": "100ms", "max_delay": "100ms"}
    assert channels == {
        "sms": {"retry": {"max_attempts": 3, **waits}},
        "sms:now": {"retry": {"max_attempts": 2, **waits}, "timeout": "5s"},
    }


@pytest.mark.parametrize(
    ("version", "second"), [({"bullmq": "3.4.0"}, 3.0), ({"bullmq": "3.4.1"}, 2.0), ({}, 2.0)], ids=str
)
def test_before_3_4_1_waits_grew_as_those_of_bull(version: dict[str, str], second: float) -> None:
    text = f"{BULLMQ}q.add('x', {{}}, {{ attempts: 3, backoff: {{ type: 'exponential', delay: 1000, jitter: 0.5 }} }});"
    found = one("bullmq", text, names=["a.ts"], versions=version)
    assert starts(found)[-1][1] == 1 + second
    marks = [each.mark.value for each in found.findings]
    assert ("does nothing" in marks) == bool(version)  # jitter is of 5.54
    assert ("approximate" in marks) == (not version)


def test_options_that_a_wrapper_gets_are_of_its_jobs() -> None:
    text = """
    const own = { addJob(name, data, o = {}) { return q.add(name, data, { attempts: 5, ...o }); } };
    export const run = () => own.addJob('x', {}, { attempts: 9, backoff: 700 });
    """
    found = read("bullmq", BULLMQ + text, names=["a.ts"])["a:5"]
    assert found.channel is not None
    assert [each.reason for each in found.findings if each.mark == "approximate"] == [
        "of jobs that own.addJob makes with these options, which it may change or add to"
    ]


@pytest.mark.parametrize("maker", ["const get = (name) => {", "const get = function (name) {", "function get(name) {"])
def test_jobs_of_a_queue_that_a_function_gives_have_its_limiter(maker: str) -> None:
    text = f"""
    const queues = {{}};
    {maker} queues[name] ??= new Queue(name, {{ limiter: {{ max: 5, duration: 1000 }} }}); return queues[name]; }};
    export const run = () => get('x').add({{}}, {{ attempts: 4, backoff: 10 }});
    export const late = async () => {{ const some = get('y'); some.add({{}}, {{ attempts: 6, backoff: 10 }}); }};
    """
    found = read("bullmq", BULL + text, names=["a.js"])
    jobs = [each.channel for each in found.values() if each.channel and each.channel["retry"]["max_attempts"] > 1]
    assert [each.get("quota") for each in jobs] == [{"rate": "5/1s"}] * 2


HOSTILE = {
    "deep": BULLMQ + "const a = " + "[" * 20_000 + "]" * 20_000,
    "merge conflict": f"{BULLMQ}<<<<<<< HEAD\nq.add('x', {{}}, {{ attempts: 3 }});\n=======\n>>>>>>> b\n",
    "a syntax error": BULLMQ + "q.add('x', {}, { attempts: 3, );",
    "a template": BULLMQ + "q.add('x', {}, { attempts: {{ .Values.attempts }} });",
    "long": BULLMQ + "x" * 2**19,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_read_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"a\.ts") as refused:
        read("bullmq", text, names=["a.ts"])
    assert len(refused.value.problems) == 1
    (kept, broken) = read("bullmq", BULLMQ, text, names=["b.ts", "a.ts"]).values()
    assert kept.channel is not None
    assert broken.channel is None


ENDLESS = {
    "constants in a circle": "const a = b; const b = a; q.add('x', {}, { attempts: a });",
    "a function that calls itself": "function f(n) { return f(n) + f(n); } q.add('x', {}, { attempts: f(1) });",
    "spreads that double": "const a0 = {attempts: 1};"
    + "".join(f"const a{n + 1} = {{...a{n}, ...a{n}}};" for n in range(40))
    + "q.add('x', {}, a40);",
    "a large power": "q.add('x', {}, { attempts: 9 ** 9 ** 9, backoff: 1 });",
    "noise": "q.add('x', {}, { attempts: 3 });" + "a<b," * 20_000 + "c;",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_what_does_not_end_takes_a_bounded_time(text: str) -> None:
    found = read("bullmq", BULLMQ + text, names=["a.ts"])
    assert found


def test_a_queue_is_found_through_imports_and_never_by_the_name_of_a_variable_alone() -> None:
    made = "const Queue = require('bull');\nmodule.exports = new Queue('a', { defaultJobOptions: { attempts: 4 } });\n"
    other = "const Queue = require('bull');\nconst queue = new Queue('b', { defaultJobOptions: { attempts: 9 } });\n"
    uses = "const Bull = require('bull');\nconst queue = require('./made');\nqueue.add({}, { backoff: 7 });\n"
    found = read("bullmq", made, other, uses, names=["q/made.js", "q/other.js", "q/uses.js"])
    assert {name: each.channel and each.channel["retry"]["max_attempts"] for name, each in found.items()} == {
        "a": 4,
        "b": 9,
        "a:3": 4,
    }
    alone = read("bullmq", other, uses.replace("backoff: 7", "attempts: 3"), names=["q/other.js", "q/uses.js"])
    assert {name: each.channel and each.channel["retry"] for name, each in alone.items()}["queue:3"] == {
        "max_attempts": 3,
        "backoff": "constant",
        "initial_delay": "0s",
        "max_delay": "0s",
    }
    assert [each.reason for each in alone["queue:3"].findings if each.mark == "approximate"] == [
        "the queue queue is made elsewhere: its defaultJobOptions hold for backoff"
    ]
