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
# # Where to retry
#
# A call fails. Who should try again: the worker that made it, the queue that it came from, the
# service that was called, or the one behind that? And how many calls may wait for a service that
# cannot keep up?

# %%
import pandas as pd

import simulation
from simulation import plots

# %% [markdown]
# ## In the worker, or in the queue?
#
# Most libraries retry where the call is made: tenacity, stamina, Polly, resilience4j, a loop with
# `sleep`. The worker sleeps and does nothing else. Here two queues get 20 jobs a second and have
# ten workers each; the service takes 100 ms and fails 40% of the calls for a minute.

# %%
worker = simulation.run("../scenarios/retry-in-the-worker.yaml")
plots.delivery_over_time(worker, channel="loop").figure

# %% [markdown]
# Of ten workers two are busy on a good day. With 40% failures a job holds its worker for 0.1 s and,
# after failures, for 1, 2 and 4 s of sleep: 1.1 s on average. For 20 jobs a second that is work for
# 23 workers, of which there are ten. So most of them sleep, and jobs that would have succeeded at
# once wait for half a minute.


# %%
def mean_hold_s(failing, waits=(1, 2, 4), takes=0.1):
    return takes + sum(
        failing**number * (wait + takes) for number, wait in enumerate(waits, start=1)
    )


pd.DataFrame(
    {
        "a worker is held for, in s": [
            round(mean_hold_s(failing), 2) for failing in (0.01, 0.1, 0.2, 0.4)
        ],
        "workers needed for 20/s": [
            round(20 * mean_hold_s(failing), 1) for failing in (0.01, 0.1, 0.2, 0.4)
        ],
    },
    index=["1% fail", "10%", "20%", "40%"],
)

# %% [markdown]
# The other queue has the same jobs, the same failures and the same waits. A job that waits is back
# in the queue, and its worker takes the next one.

# %%
by_channel = worker.summary["channels"]
pd.DataFrame(
    {
        "given up": [by_channel[name]["dead_lettered"] for name in ("loop", "queue")],
        "half within, in s": [
            round(by_channel[name]["delivery_time_s"]["p50"], 2) for name in ("loop", "queue")
        ],
        "99% within, in s": [
            round(by_channel[name]["delivery_time_s"]["p99"], 1) for name in ("loop", "queue")
        ],
    },
    index=["retried in the worker", "retried in the queue"],
)

# %% [markdown]
# Where it cannot be the queue, have workers for the bad day: 23 in place of ten, or shorter waits,
# or a budget. `retrylab lint` says so where the usual failures are enough for it.
#
# ## How long may the queue of a service get?
#
# A service that does 20/s keeps up to 256 requests in a queue; its callers wait for 750 ms and try
# three times. Eight calls come a second, and for ten seconds 40.

# %%
queue = simulation.run("../scenarios/bounded-queue.yaml")
plots.delivery_over_time(queue, channel="plain").figure

# %% [markdown]
# The burst is over at 1:10, and nothing gets through any more. 256 requests at 20/s are 13 s of
# work; each caller has left after 0.75 s. The service works for callers that are gone, and these
# come again: three times 8/s is more than 20/s. A bound on the queue does not help when it is
# seventeen times as long as callers wait.

# %%
by_channel = queue.summary["channels"]
names = ("plain", "breaker", "slots")
pd.DataFrame(
    {
        "sent": [f"{by_channel[name]['sent_fraction']:.0%}" for name in names],
        "at most in the queue": [by_channel[name]["queue"]["peak"] for name in names],
        "begun for no one": [by_channel[name]["queue"]["abandoned"] for name in names],
    },
    index=["three attempts", "and the default breaker", "and 15 slots"],
)

# %% [markdown]
# The breaker stops the callers until the queue is empty: late, and none lost. Slots keep the queue
# from growing at all: fifteen calls of 50 ms are 750 ms, as long as a caller waits. Sixteen are one
# too many:

# %%
sixteen = simulation.run(
    "../scenarios/bounded-queue.yaml", sets=["channels.slots.max_in_flight=16", "expect=[]"]
)
{name: f"{sixteen.summary['channels'][name]['sent_fraction']:.0%}" for name in ("slots",)}

# %% [markdown]
# ## Which of several layers?
#
# A gateway calls a service, and that a store. Each tries three times. While the store is down for
# two minutes, one call is three requests at the gateway, nine at the service and 27 at the store.

# %%
layers = simulation.run("../scenarios/layers-of-retries.yaml")
by_channel = layers.summary["channels"]
pd.DataFrame(
    {
        "at the gateway": [
            by_channel[name]["requests_by_layer"]["0"] for name in ("everywhere", "outside")
        ],
        "at the service": [
            by_channel[name]["requests_by_layer"]["1"] for name in ("everywhere", "outside")
        ],
        "at the store": [
            by_channel[name]["requests_by_layer"]["2"] for name in ("everywhere", "outside")
        ],
        "sent": [f"{by_channel[name]['sent_fraction']:.0%}" for name in ("everywhere", "outside")],
    },
    index=["three tries in each layer", "three at the caller"],
)

# %% [markdown]
# For 62% that get through in place of 59%, the store, which is in trouble, gets six times the
# requests.
#
# ## What to do
#
# Retry in one layer, the outermost that knows whether it is worth it, and from a queue. Where a
# worker has to wait itself, count its sleep among its work. Keep what waits at a service shorter
# than its callers wait: by slots at the caller, as many as the service does in one timeout.
#
# ```yaml
# channels:
#   api:
#     kind: call
#     timeout: 750ms
#     max_in_flight: 15
#     retry: {max_attempts: 3, initial_delay: 1s, jitter: full, budget: {share: 10%}}
# ```
