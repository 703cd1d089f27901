"""How much a scenario can take: of an outage, a slow provider, load, and so on, before an expectation breaks."""
