"""What all tests share: how Hypothesis looks for examples."""

from hypothesis import HealthCheck, settings

# Two cores, often busy with something else: how long one example takes says nothing.
settings.register_profile(
    "retrylab", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("retrylab")
