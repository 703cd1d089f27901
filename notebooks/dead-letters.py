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
# # Dead letters: how they come, and how they go
#
# After the outage there are a thousand letters in the dead letter queue. What are they, how fast
# did they come, and what happens to the provider if an operator presses *redrive all*?

# %%
import pandas as pd

import simulation
from simulation import parse, plots

# %% [markdown]
# ## The day
#
# Ten emails a second, five attempts each, no circuit breaker. The provider is down for two
# minutes, and somewhat later, for one minute, a broken import gives it addresses of which a third
# do not exist. It works on four emails at a time.

# %% jupyter={"source_hidden": true}
SCENARIO = """
name: outage-and-broken-import
seed: 21
duration: 9m
drain: 10m
workload:
  - {channel: email, arrivals: {poisson: 10/s}}
channels:
  email:
    retry: {max_attempts: 5, initial_delay: 1s, jitter: full}
    circuit_breaker: {enabled: false}
    provider: {latency: {lognormal: {median: 80ms, p99: 900ms}}, capacity: 4}
faults:
  - {channel: email, at: 1m, for: 2m, outage: true}
  - {channel: email, at: 5m, for: 1m, permanent_rate: 33%}
"""

# %%
day = simulation.run(parse(SCENARIO))
plots.dlq_growth(day).figure

# %% [markdown]
# ## What they are
#
# Two kinds, and they need different answers. Those of the outage used up five attempts each: the
# message is fine, and another attempt would do. Those of the import were refused for good at the
# first attempt, and would be again.

# %%
letters = day.dlq.assign(waited=day.dlq["time_s"] - day.dlq["requested_at_s"])
letters.groupby("reason").agg(
    letters=("id", "size"),
    attempts=("attempts", "mean"),
    first_at_s=("time_s", "min"),
    last_at_s=("time_s", "max"),
    given_up_after_s=("waited", "mean"),
).round(1)

# %% [markdown]
# The first letter comes five seconds into the outage, as five attempts with full jitter take 7.5 s
# of waiting on average. From then on the queue grows as fast as mail arrives, some ten a second,
# and retries save only what comes in the last seconds of the outage. One of those that were
# dead-lettered:

# %%
given_up = letters.query("reason == 'provider outage'").iloc[500]
plots.timeline(day, given_up["id"]).figure

# %% [markdown]
# ## Redrive too early
#
# A redrive starts with a fresh set of attempts. At 2 min, in the middle of the outage, it sends
# half a thousand letters the same way again: more attempts, and nothing sent.


# %%
def fate(result):
    of_outage = result.dlq[result.dlq["reason"] == "provider outage"]["id"].unique()
    notifications = result.notifications.set_index("id")
    after = notifications.query("requested_at_s > 420").drop(of_outage, errors="ignore")
    return {
        "given up in the outage": len(of_outage),
        "of these sent": (notifications.loc[of_outage, "outcome"] == "sent").sum(),
        "sent of what came after 7 min": f"{(after['outcome'] == 'sent').mean():.0%}",
        "dead letters at the end": result.summary["dlq"]["final"],
        "attempts": result.summary["attempts"],
    }


early = simulation.run(parse(SCENARIO + "operations: [{at: 2m, redrive: all}]"))
runs = {"no redrive": day, "all at 2 min": early}
pd.DataFrame.from_dict({label: fate(run) for label, run in runs.items()}, orient="index")

# %% [markdown]
# ## Redrive all at once
#
# At 7 min the provider is well, and the letters of the outage are redriven. A thousand in the same
# instant are 40 s of work for it, but an attempt times out after 10 s. So most of them time out in
# its queue, and so does the usual mail behind them. All are retried, and a minute later the dead
# letter queue grows again as it did in the outage.

# %%
BY_REASON = "operations: [{at: 7m, redrive: {reason: provider outage}}]"
at_once = simulation.run(parse(SCENARIO + BY_REASON))
plots.dlq_growth(at_once).figure

# %% [markdown]
# The redrive has brought down a provider that was fine: of the mail that came after it none was
# sent, as the table below shows. The load on the provider shows why it does not recover: five
# attempts for each email, as in the outage.

# %%
plots.amplification(at_once).figure

# %% [markdown]
# ## Redrive, with the queue on our side
#
# The same redrive, with `max_in_flight: 20`. The provider gets 20 emails at a time, and the others
# wait here, where nothing times out.

# %%
SLOTS = ("capacity: 4}", "capacity: 4}\n    max_in_flight: 20")
with_slots = simulation.run(parse(SCENARIO.replace(*SLOTS) + BY_REASON))
plots.dlq_growth(with_slots).figure

# %% [markdown]
# All letters of the outage are sent within about 40 s, no other email is lost, and what is left in
# the queue are those of the import, for a person to look at. In the last line there is a circuit
# breaker beside the slots: mail waits for the end of the outage, and there are no letters of it to
# redrive.

# %%
with_breaker = SCENARIO.replace("{enabled: false}", "{failure_threshold: 5, timeout: 30s}")
runs |= {
    "at 7 min, at once": at_once,
    "at 7 min, 20 in flight": with_slots,
    "a breaker, 20 in flight": simulation.run(parse(with_breaker.replace(*SLOTS))),
}
pd.DataFrame.from_dict({label: fate(run) for label, run in runs.items()}, orient="index")

# %%
redriven = with_slots.dlq.query("left == 'redriven'")["id"]
sent_at = with_slots.notifications.set_index("id").loc[redriven, "finished_at_s"]
print(f"{len(sent_at)} redriven at 420 s, the last one sent at {sent_at.max():.1f} s")

# %% [markdown]
# ## What to do
#
# Before a redrive: is the cause fixed, and which reasons are worth it? Then redrive these only, and
# at a limited rate:
#
# ```sh
# retrylab dlq groups
# retrylab dlq bulk retry --reason 'provider outage' --rate 20/s --dry-run
# ```
#
# And have a bound on what is in flight, so that no redrive is more than the provider can take; and
# a breaker, so that the next outage leaves nothing to redrive:
#
# ```yaml
# channels:
#   email:
#     retry: {max_attempts: 5, initial_delay: 1s, jitter: full}
#     circuit_breaker: {failure_threshold: 5, timeout: 30s}
#     max_in_flight: 20
# ```
