"""Traces: the history of a run in a file, with all that it takes to run it again and compare.

A trace is a gzip file of JSON lines, so that ``zcat`` and every language can read it: first a :class:`Header`, then
the recorded events in their order, each with its type, and at last an :class:`Ending`. The header holds the scenario
as text and the data files that it refers to, so that a trace can be replayed where it was not recorded. The same run
gives the same bytes.

::

    simulation.record("scenarios/provider-outage.yaml", "outage.trace", seed=8)
    print(simulation.replay("outage.trace"))
    print(simulation.replay("outage.trace", sets=["channels.email.retry.max_attempts=8"]).difference)
"""
