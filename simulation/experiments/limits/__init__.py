"""The limits of a scenario: of an outage, a slow provider, load, and so on, before an expectation breaks."""
