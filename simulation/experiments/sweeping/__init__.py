"""Sweeps: a scenario with many combinations of settings, each with the same seeds."""
