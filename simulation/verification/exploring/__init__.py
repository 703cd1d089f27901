"""Many random cases of a scenario, each checked; what they reach, and how one that breaks becomes small."""
