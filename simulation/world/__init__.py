"""A trio service as it is, in virtual time, with the providers, names and clock of a scenario."""
