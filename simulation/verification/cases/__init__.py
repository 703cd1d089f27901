"""Published and proved results: what a case is, and how one is tried. The cases are in `families`."""
