"""A trio service as it is, in virtual time: its providers, names and clock are those of a scenario."""
