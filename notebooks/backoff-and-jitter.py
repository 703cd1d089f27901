# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Backoff and jitter
#
# Five hundred messages were refused in the same second. How long does each of them wait before it
# tries again, and what keeps them from all coming back together?

# %%
from random import Random

import pandas as pd

import simulation
from actors import Backoff, RateLimitConfig, RetryConfig, make_limiter
from simulation import plots

# %% [markdown]
# ## How long a wait is
#
# After the n-th failed attempt the wait is `initial_delay` · `backoff_multiplier`^(n − 1), and
# never more than `max_delay`. The last column is how long a notification goes on trying: one with
# five attempts is exhausted after four waits, 15 s, and one with ten after nine, two and a half
# minutes.

# %%
plain = RetryConfig(max_attempts=10, initial_delay=1.0, backoff_multiplier=2.0, max_delay=30.0)
waits = pd.DataFrame(index=pd.RangeIndex(1, 10, name="failed attempt"))
waits["wait in s"] = [plain.calculate_delay(attempt) for attempt in waits.index]
waits["all waits so far in s"] = waits["wait in s"].cumsum()
waits

# %% [markdown]
# ## What jitter changes
#
# Without jitter all that failed at the same time wait for the same time. Jitter draws the wait:
# `full` anywhere between nothing and the wait above, `equal` from its upper half,
# `decorrelated` from a range that depends on the wait before. The line is the median. With `full`
# it is half of the wait without jitter, and so ten attempts go on for half as long.

# %%
kinds = ["none", "full", "equal", "decorrelated"]
policies = {jitter: plain.model_copy(update={"jitter": jitter}) for jitter in kinds}
plots.backoff(policies).figure

# %% [markdown]
# The policy is a plain object, which can be asked step by step. It has no clock and no state of a
# notification: what it has to remember from one wait to the next is passed in and returned. These
# are the waits of one notification with seed 7.

# %%
drawn = {}
for jitter, policy in policies.items():
    backoff, memory, drawn[jitter] = Backoff(policy, Random(7)), None, []
    for attempt in range(1, 10):
        wait_ns, memory = backoff.next_wait(attempt, memory)
        drawn[jitter].append(wait_ns / 1e9)
pd.DataFrame(drawn, index=pd.RangeIndex(1, 10, name="failed attempt")).round(1)

# %% [markdown]
# ## The herd
#
# `jitter-under-contention` is the case: 500 SMS at once, to a provider that takes 25 a second and
# refuses the rest. One minute of it is enough, with each kind of jitter and the same seeds
# otherwise. *Busiest second* leaves out the first one, in which all 500 arrive whatever the
# setting.

# %%
FILE = "../scenarios/jitter-under-contention.yaml"
runs = {
    jitter: simulation.run(FILE, sets=["duration=1m", f"channels.sms.retry.jitter={jitter}"])
    for jitter in kinds
}


def text_of(seconds):
    return "never" if seconds is None else f"{seconds:.1f}"


def figures(result):
    summary = result.summary
    attempts_by_second = result.attempts.groupby(result.attempts["start_s"] // 1).size()
    return {
        "attempts": summary["attempts"],
        "lost": summary["dead_lettered"],
        "busiest second": attempts_by_second.iloc[1:].max(),
        "p50 in s": text_of(summary["delivery_time_s"]["p50"]),
        "p99 in s": text_of(summary["delivery_time_s"]["p99"]),
    }


pd.DataFrame.from_dict({jitter: figures(run) for jitter, run in runs.items()}, orient="index")

# %% [markdown]
# Without jitter half are lost, and so even the median is never: all that are left come back in the
# same instant, 25 of them get through, ten times in a row. A line in the next figure is one SMS,
# with a mark for each attempt. They stand below each other.

# %%
plots.raster(runs["none"], limit=100).figure

# %% [markdown]
# With full jitter nothing is lost, and after about 40 s all have arrived.

# %%
plots.raster(runs["full"], limit=100).figure

# %% [markdown]
# A curve is of all that was offered. The one without jitter ends at one half: the others never
# arrive, as its legend says. Which of the three kinds of jitter it is matters far less: they all
# end between 25 and 45 s.

# %%
plots.delivery_times(runs).figure

# %% [markdown]
# ## Jitter spreads a herd, but knows of no limit
#
# With jitter an SMS still took 3.6 to 4.8 attempts on average, and all but one of them were
# refused. Where the provider's limit is known, a quota makes them wait on our side: one attempt
# each, and all are through in the 20 s that 500 at 25 a second take.

# %%
runs["full, quota of 25/s"] = simulation.run(
    FILE, sets=["duration=1m", "channels.sms.retry.jitter=full", "channels.sms.quota.rate=25/s"]
)
pd.DataFrame.from_dict({label: figures(runs[label]) for label in list(runs)[-4:]}, orient="index")

# %% [markdown]
# A limiter is a plain object as well. It answers with the instant at which the call fits: now, or
# later. Of 60 calls at 0 s, 25 are admitted, and the others get the answer that they fit one second
# later. A caller that asks again then is admitted.

# %%
limiter = make_limiter(RateLimitConfig(rate="25/s"))
now_ns = 0
answers_ns = [limiter.try_acquire("sms", now_ns) for _ in range(60)]
later_ns = 1_000_000_000
print(sum(answer == now_ns for answer in answers_ns), "of 60 admitted at 0 s")
print("the others fit at", {answer / 1e9 for answer in answers_ns if answer != now_ns}, "s")
print(
    "asked again at 1 s:",
    "admitted" if limiter.try_acquire("sms", later_ns) == later_ns else "refused",
)

# %% [markdown]
# ## What to do
#
# Take any jitter, and `full` if nothing speaks against it. Allow enough attempts that the sum of
# the waits outlasts a usual outage, or leave outages to a circuit breaker, behind which waiting
# uses up no attempt. Where the provider states a limit, set a quota a little below it.
#
# ```yaml
# channels:
#   sms:
#     retry: {max_attempts: 10, initial_delay: 1s, max_delay: 30s, jitter: full}
#     quota: {rate: 25/s}
# ```
