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
# # The circuit breaker, step by step
#
# The email provider went down. When did the breaker stop sending to it, what happened to the mail
# that arrived meanwhile, and what found out that the provider was back?

# %%
import pandas as pd

import simulation
from actors import TRANSITIONS, Breaker, CircuitBreakerConfig
from simulation import parse, plots

S = 1_000_000_000  # nanoseconds: policies count in whole ones, so that an instant is exact

# %% [markdown]
# ## The table
#
# A breaker is in one of six states, and this is every transition there is. Three of them are for
# normal operation: `closed` lets everything through and counts failures, `open` refuses
# everything, `half-open` lets one probe through. The other three are an operator's overrides.

# %%
pd.DataFrame(TRANSITIONS).rename(index=str, columns=str).T.fillna("")

# %% [markdown]
# ## One breaker by hand
#
# It opens after five failures in a row and stays open for 60 s. It is a plain object: we pass in
# the time, and nothing happens in between. A permit is asked for before each call, and settled
# with the call's result.

# %%
breaker = Breaker(CircuitBreakerConfig(failure_threshold=5, timeout=60.0))
steps = []


def step(at_s, result=None, permit=None):
    """Ask for a permit, unless one is given, and settle it with the result, if there is one."""
    permit = permit or breaker.try_acquire(int(at_s * S))
    says = "refused" if permit is None else f"permit {permit}"
    if permit and result:
        settle = breaker.record_success if result == "success" else breaker.record_failure
        says += "" if settle(permit, int(at_s * S)) else ", too late: changes nothing"
    steps.append([at_s, result or "", says, str(breaker.state), breaker.consecutive_failures])
    return permit


slow = step(0.0)  # a call that will take very long
for second in range(1, 6):
    step(float(second), "failure")
step(6.0)
step(64.9)
probe = step(65.0)
step(65.1)
step(65.2, "success", permit=slow)
step(65.3, "success", permit=probe)
step(66.0, "failure")
pd.DataFrame(
    steps, columns=["at s", "result", "what the breaker says", "state", "failures in a row"]
)

# %% [markdown]
# - The fifth failure, at 5 s, opens it. At 6.0 and 64.9 s it refuses; at 65.0 s, at the exact
#   instant, it gives a permit to a probe, and to one only: at 65.1 s it refuses again.
# - The slow call of the beginning succeeds at 65.2 s. That says nothing about the provider as it
#   is now: its permit is one from before the opening, and a half-open breaker is not closed by it.
# - The probe's success at 65.3 s closes it, and the count starts at zero.
#
# ## In an outage of three minutes
#
# In `provider-outage` the email provider is down from 2 to 5 min; here with a quarter of its
# traffic. The breaker opens within a second, and two probes find that the outage goes on. Mail
# waits, in order, and uses up no attempt.

# %%
quick = ["workload.0.arrivals.poisson=5/s", "workload.1.arrivals.constant=1/s"]
result = simulation.run("../scenarios/provider-outage.yaml", sets=quick)
plots.breaker_states(result).figure

# %%
result.breaker[["time_s", "channel", "from", "to", "cause"]].round(2)

# %% [markdown]
# One email that arrived in the middle of the outage: it made its only attempt when the breaker had
# closed.

# %%
email = result.notifications.query("channel == 'email' and requested_at_s > 200").iloc[0]
plots.timeline(result, email["id"]).figure

# %% [markdown]
# More than 800 wait when it closes. They leave at a rate that begins at `resume_rate`, 10 a
# second, and doubles every ten seconds: within half a minute all are gone, and the provider that
# has just come back did not get them in one second.

# %%
plots.in_flight(result).figure

# %% [markdown]
# ## How long should it stay open?
#
# Nothing tells the breaker that the provider is back: a probe has to find out, every `timeout`. So
# the recovery is found half a `timeout` late on average, and never more than a whole one; and an
# outage costs one failed attempt for each probe. Here for outages of 1 to 10 minutes, in steps of
# a second:


# %%
def outage(timeout_s, lasts_s):
    """Return how many probes failed in an outage, and how late after it one succeeded."""
    breaker, failed_probes = Breaker(CircuitBreakerConfig(timeout=timeout_s)), 0
    for _ in range(5):
        breaker.record_failure(breaker.try_acquire(0), 0)
    while True:
        now_ns = breaker.reopen_at_ns
        probe = breaker.try_acquire(now_ns)
        if now_ns >= lasts_s * S:
            return failed_probes, now_ns / S - lasts_s
        breaker.record_failure(probe, now_ns)
        failed_probes += 1


rows = {}
for timeout_s in (10, 30, 60, 120):
    found = pd.DataFrame(
        [outage(timeout_s, lasts_s) for lasts_s in range(61, 601)],
        columns=["failed probes", "late"],
    )
    rows[f"{timeout_s} s"] = {
        "failed probes, mean": found["failed probes"].mean(),
        "found late by, mean s": found["late"].mean(),
        "found late by, longest s": found["late"].max(),
    }
pd.DataFrame.from_dict(rows, orient="index").rename_axis("timeout").round(1)

# %% [markdown]
# ## False alarms
#
# Five failures in a row need no outage. At a share p of random failures it takes (1 − p⁵) / (p⁵ (1
# − p)) calls on average until five in a row have failed, and each time the channel stands still for
# `timeout`. At 20 calls a second 5% of failures open the breaker every two days, 10% every hour and
# a half, 30% twice a minute.
#
# A provider that fails so often needs a breaker that looks at the rate. The second breaker here
# opens when half of the calls of the last ten seconds failed, of at least 50. Both get the same
# calls, 20 a second for 100 s:

# %%
calm = parse("""
name: calm
seed: 7
duration: 100s
workload: [{channel: email, arrivals: {constant: 20/s}}]
channels: {email: {retry: {max_attempts: 1}, provider: {latency: 10ms}}}
""")
SHARE, BREAKER = "channels.email.provider.failure_rate", "channels.email.circuit_breaker"
IN_A_ROW = "{failure_threshold: 5, timeout: 10s}"
RATE = "{window: {time: 10s}, failure_rate: 50%, minimum_calls: 50, timeout: 10s}"
openings = simulation.sweep(calm, {SHARE: "5%,10%,20%,30%,40%", BREAKER: [IN_A_ROW, RATE]})
plots.sweep_lines(openings, "breaker.email.opened", x=SHARE, by=BREAKER).figure

# %% [markdown]
# With three or four failures in ten the first breaker opens again and again, and the second hardly
# ever. In an outage, when all fail, the second opens as well, some seconds later.

# %% [markdown]
# ## What to do
#
# For a provider that hardly ever fails: five in a row. For one that fails at random: a rate, well
# above what is usual. `timeout` is how late you can afford to be after an outage.
#
# ```yaml
# channels:
#   email:
#     circuit_breaker: {failure_threshold: 5, timeout: 30s}
#   push:
#     circuit_breaker: {window: {time: 10s}, failure_rate: 50%, minimum_calls: 50, timeout: 30s}
# ```
