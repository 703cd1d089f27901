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
# # Retry storms and metastable failure
#
# The provider was slow for twenty seconds. Minutes later it is well, and still nothing gets
# through. Why does it not recover by itself, and which setting would have helped?

# %%
import pandas as pd

import simulation
from simulation import parse, plots

# %% [markdown]
# ## The storm
#
# Twenty webhooks a second go to a provider with ten servers of 250 ms each: it can do 40 a second,
# twice what comes. An attempt times out after 2 s, and there are up to four. From 30 s to 50 s
# nine of its servers are gone. No circuit breaker.

# %% jupyter={"source_hidden": true}
SCENARIO = """
name: storm
seed: 31
duration: 3m
drain: 1m
workload:
  - {{channel: webhook, arrivals: {{poisson: {rate}/s}}}}
channels:
  webhook:
    retry: {retry}
    timeout: 2s
    circuit_breaker: {breaker}
    max_in_flight: {slots}
    provider: {{latency: {{exponential: {{mean: 250ms}}}}, capacity: 10}}
faults:
  - {{channel: webhook, at: 30s, for: {trigger}s, capacity: 1}}
"""
PLAIN = {
    "rate": 20,
    "trigger": 20,
    "retry": "{max_attempts: 4, initial_delay: 1s, jitter: full}",
    "breaker": "{enabled: false}",
    "slots": "null",
}


# %%
def storm(**different):
    return simulation.run(parse(SCENARIO.format(**PLAIN | different)))


plain = storm()
plots.throughput(plain).figure

# %% [markdown]
# The servers are back at 50 s. What is delivered after that is next to nothing, and what the
# provider gets is four times what arrives: in each step, four attempts for each first one.

# %%
plots.amplification(plain).figure

# %% [markdown]
# ## Why it stays down
#
# Eighty attempts a second go to a provider that does 40. Its queue is longer than the timeout:
# what it works on has timed out when it comes to it. So it works on what no one waits for any
# more, and all of that is sent again. This is a webhook of a minute after the trigger, to a
# provider that has been well for all that time:

# %%
late = plain.notifications.query("requested_at_s > 110").iloc[0]
plots.timeline(plain, late["id"]).figure

# %%
after = plain.attempts.query("start_s > 60")
sent, amplification = plain.summary["sent_fraction"], plain.summary["retry_amplification"]
print(f"attempts from 1 min on that timed out: {(after['reason'] == 'timed out').mean():.1%}")
print(f"sent: {sent:.0%}, attempts for each: {amplification:.2f}")

# %% [markdown]
# ## What decides whether it recovers
#
# How long the trigger lasts decides little: once the queue is longer than the timeout, it stays.
# Two seconds are forgotten, five have the same end as twenty, and between them the seed decides.
# The same trigger with three seeds each; the bars are 95% confidence intervals.

# %%
FOR = "faults.0.for"
triggers = simulation.sweep(parse(SCENARIO.format(**PLAIN)), {FOR: "1s,2s,3s,4s,5s,10s,20s"})
plots.sweep_lines(triggers, "sent_fraction", x=FOR).figure

# %% [markdown]
# The load with all its retries decides, against what the provider can do. With four attempts that
# load is four times the arrivals, and from 10/s on it is as much as the 40/s: there the effect of
# the same trigger never ends. Below, the provider works it off.

# %%
RATE = "workload.0.arrivals.poisson"
rates = simulation.sweep(parse(SCENARIO.format(**PLAIN)), {RATE: "5/s,8/s,10/s,12/s,15/s,20/s"})
plots.sweep_lines(rates, "sent_fraction", x=RATE).figure

# %% [markdown]
# ## What helps
#
# The same trigger and the same seeds:
#
# - *no retries*: the load never exceeds the arrivals; but then a random failure loses a webhook.
# - *a budget*: retries are at most 10% of the first attempts, and one a second. It behaves like no
#   retries in a storm, and like retries on any other day.
# - *slots*: at most 20 in flight. The others wait here, where nothing times out, and the
#   provider's queue stays short.
# - *a breaker*: it stops sending until a probe succeeds, and then sends what waited below
#   the 40/s.


# %%
def sent_in_the_last_minute(result):
    last = result.notifications.query("requested_at_s > 120")
    return (last["outcome"] == "sent").mean()


def text_of(seconds):
    return "never" if seconds is None else f"{seconds:.1f}"


answers = {
    "plain": plain,
    "no retries": storm(retry="{max_attempts: 1}"),
    "a budget": storm(retry=PLAIN["retry"].replace("}", ", budget: {share: 10%, min_rate: 1/s}}")),
    "slots": storm(slots=20),
    "a breaker": storm(breaker="{timeout: 20s, resume_rate: 30/s, resume_doubling: 5m}"),
}
pd.DataFrame.from_dict(
    {
        label: {
            "sent": f"{run.summary['sent_fraction']:.0%}",
            "sent in the last minute": f"{sent_in_the_last_minute(run):.0%}",
            "attempts for each": round(run.summary["retry_amplification"], 2),
            "p99 in s": text_of(run.summary["delivery_time_s"]["p99"]),
        }
        for label, run in answers.items()
    },
    orient="index",
)

# %% [markdown]
# A budget ends the storm, and what comes while the provider is slow is lost, about a fifth here.
# Slots and the breaker lose nothing: what comes meanwhile is late, by about half a minute at most.

# %%
plots.delivery_times(answers).figure

# %%
plots.throughput(answers["slots"]).figure

# %% [markdown]
# ## What to do
#
# Multiply: arrivals at the busiest hour × `max_attempts`. If that is more than the provider can
# do, a short trouble may last until an operator switches retries off. Then have slots (about twice
# as many as the provider works on at a time) and a breaker; and a budget in any case, which costs
# nothing on a good day.
#
# ```yaml
# channels:
#   webhook:
#     retry: {max_attempts: 4, initial_delay: 1s, jitter: full, budget: {share: 10%}}
#     circuit_breaker: {timeout: 20s, resume_rate: 30/s, resume_doubling: 5m}
#     max_in_flight: 20
#     timeout: 2s
# ```
