"""Prints what came of services here, in this process: ``python digests.py DURATION [NAME …]``."""

import json
import sys

import simulation

SCENARIO = """
duration: DURATION
seed: 11
drain: 1m
workload: [{channel: backend, arrivals: {poisson: 2/s}CALLS}]
channels:
  backend: {kind: call, provider: {latency: {exponential: {mean: 120ms}}, failure_rate: 3%, capacity: 4}}
  backup: {kind: call, provider: {latency: 400ms}}
faults:
  - {channel: backend, at: 20s, for: 15s, outage: true}
  - {channel: backend, at: 40s, for: 5s, hang: true}
  - {channel: backend, at: 48s, for: 8s, throttle: {rate: 1/s, retry_after: 2s}}
world:
  api.example.com: {channel: backend, outage: OUTAGE, failure: cut}
  backup.example.com: backup
"""


def run(duration, name, **options):
    module, calls, outage = {
        "invoices": ("invoices:service.main", "invoices:service.add", 503),
        "prices": ("prices:price", None, "refused"),
        "proxy": ("proxy:main", "POST http://localhost:8000/", "reset"),
    }[name]
    text = SCENARIO.replace("DURATION", duration).replace("OUTAGE", str(outage))
    text = text.replace("CALLS", "" if calls is None else f", calls: '{calls}'")
    return simulation.run_service(module, simulation.parse(text), code=True, **options)


if __name__ == "__main__":
    for name in sys.argv[2:] or ("invoices", "prices", "proxy"):
        result = run(sys.argv[1], name)
        keys = ("offered", "sent", "dead_lettered", "in_flight", "attempts", "digest")
        print(json.dumps({"name": name, **{key: result.summary[key] for key in keys}, "findings": result.findings}))
