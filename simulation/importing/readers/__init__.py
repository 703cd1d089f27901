"""One module for each library whose files are read."""
