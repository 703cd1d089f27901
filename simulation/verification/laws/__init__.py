"""Invariants that must hold in every history, an independent check for each."""
