"""Is retrylab itself right? Loaded by `--check`, `explore`, `validate`, the pytest plugin and the tests alone."""
