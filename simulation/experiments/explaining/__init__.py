"""Predict what settings do before anything goes wrong: attempts, outages, the breaker, and the load on the provider."""
