"""What a random case of a scenario may contain, and how it is drawn."""
