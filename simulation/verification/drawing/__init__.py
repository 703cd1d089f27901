"""The parts of a random case of a scenario, and how they are drawn."""
