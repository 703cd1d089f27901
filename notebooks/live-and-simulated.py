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
# # The same actors, live and simulated
#
# The simulation says that our settings get us through an outage. Why should the service do the
# same, when it runs in real time with real I/O?

# %%
from random import Random

import pandas as pd
import trio

import simulation
from actors import Provider, Sent, TransientError
from simulation import parse, plots

# %% [markdown]
# ## A short one
#
# Three seconds of webhooks, with an outage in the second one: short, since it will run in real
# time. A line is one webhook; those that come in the outage wait for the breaker to close.

# %% jupyter={"source_hidden": true}
SCENARIO = """
name: three-seconds
seed: 1
duration: 3s
drain: 30s
workload:
  - {channel: webhook, arrivals: {poisson: 60/s}}
channels:
  webhook:
    retry: {max_attempts: 4, initial_delay: 100ms, jitter: full}
    circuit_breaker: {failure_threshold: 5, timeout: 300ms, resume_rate: 100/s}
    provider: {latency: {lognormal: {median: 20ms, p99: 100ms}}, failure_rate: 5%}
faults:
  - {channel: webhook, at: 1s, for: 1s, outage: true}
"""

# %%
scenario = parse(SCENARIO)
simulated = simulation.run(scenario)
plots.raster(simulated).figure

# %% [markdown]
# ## On two clocks
#
# The actors are the same in both. With `runtime="trio"` they run in the live system, under trio,
# whose `MockClock` only skips the waiting. Every event comes out the same, at the same nanosecond,
# in the same order: the digest is one over all of them.

# %%
on_trio = simulation.run(scenario, runtime="trio")
for result in (simulated, on_trio):
    summary = result.summary
    print(f"{summary['runtime']:5}  {len(result.history)} events  {summary['digest'][:16]}…")

# %% [markdown]
# One of the notifications that came in the outage, on both clocks:

# %%
ident = simulated.notifications.query("requested_at_s > 1.02 and attempts > 1").iloc[0]["id"]
columns = ["attempt", "start_s", "end_s", "outcome", "reason"]
both = {
    run.summary["runtime"]: run.attempts.query("id == @ident")[columns]
    for run in (simulated, on_trio)
}
pd.concat(both, names=["clock", None]).droplevel(1)

# %% [markdown]
# ## In real time
#
# Real time is random: a timer fires a millisecond late, and from there on the run differs. So the
# simulation does not say *what* a live run does, but within which bounds: here those of three
# metrics at once, with 95% confidence, as found by 119 runs.

# %%
prediction = simulation.predict(scenario, confidence=0.95)
print(len(prediction.values["sent_fraction"]), "runs")
pd.DataFrame(
    {
        figure: {"low": interval.low, "high": interval.high}
        for figure, interval in prediction.intervals.items()
    }
).T.round(3)

# %% [markdown]
# And now the three seconds take three seconds. The faults are injected around a provider that
# delivers to no one.
#
# A notebook's own loop is asyncio's, and retrylab needs trio's. `trio.run(…)` in a cell starts
# one, and the cell takes until it has ended. Or say `%autoawait trio` once: from the next cell on,
# `await simulation.run_live(scenario)` works as it stands.

# %% tags=["chance"]
live = trio.run(simulation.run_live, scenario)
prediction.surprises(live.summary)

# %% [markdown]
# No surprises: it is within the bounds, as 19 of 20 such runs are. The metrics themselves differ
# from run to run:

# %% tags=["live"]
pd.DataFrame(
    {
        run.summary["runtime"]: {
            "sent": run.summary["sent_fraction"],
            "attempts for each": run.summary["retry_amplification"],
            "breaker opened": run.summary["breaker"]["webhook"]["opened"],
            "p50 in s": run.summary["delivery_time_s"]["p50"],
            "p99 in s": run.summary["delivery_time_s"]["p99"],
        }
        for run in (simulated, live)
    }
).T.round(3)

# %% tags=["live"]
plots.delivery_times({"simulated": simulated, "live": live}).figure

# %% [markdown]
# ## With I/O of your own
#
# A provider is an object with one method, which returns what to do under trio. This one sleeps
# where yours would send a request. The outage is still injected, and all else is what the
# provider does.


# %% tags=["chance"]
class Gateway(Provider):
    def __init__(self):
        self.draws = Random(7)

    def attempt(self, attempt, now_ns):
        async def deliver():
            await trio.sleep(self.draws.lognormvariate(-3.9, 0.7))
            if self.draws.random() < 0.05:
                raise TransientError("503 from the gateway")
            return Sent()

        return deliver


own = trio.run(simulation.run_live, scenario, Gateway())
prediction.surprises(own.summary)

# %% [markdown]
# ## Would it notice?
#
# A prediction that always comes true says nothing. So here is a live run with the breaker
# switched off:

# %% tags=["live"]
breaker = "{failure_threshold: 5, timeout: 300ms, resume_rate: 100/s}"
without = parse(SCENARIO.replace(breaker, "{enabled: false}"))
prediction.surprises(trio.run(simulation.run_live, without).summary)

# %% [markdown]
# ## What to do
#
# Before a release: run the scenario of your last outage against staging, with real transports, and
# compare with the prediction. A surprise is a setting that is not the one you think, or a provider
# that is not as you described it. The service takes the same keys as the scenario:
#
# ```yaml
# channels:
#   webhook:
#     retry: {max_attempts: 4, initial_delay: 100ms, jitter: full}
#     circuit_breaker: {failure_threshold: 5, timeout: 300ms, resume_rate: 100/s}
# ```
