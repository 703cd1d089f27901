"""Tuning: the cheapest settings of a scenario that meet its expectations with a stated probability."""
