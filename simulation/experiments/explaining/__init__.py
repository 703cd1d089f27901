"""What settings will do, before anything goes wrong: the schedule of attempts, outages, the breaker, what it costs."""
