"""The same keys lead to the same policies from a scenario file and from a live configuration."""

import yaml

from actors.messages import NotificationChannel
from actors.policies.rate_limit.limiter import LeakyBucket, SeveralRates, make_limiter
from actors.policies.retry.budgets import GrpcBudget, make_budget
from actors.settings.channel import NotifierConfig
from actors.settings.quantities import FROM_FILE
from simulation import scenario

CHANNELS = """
channels:
  email:
    retry:
      max_elapsed: 1h
      jitter: soft
      min_delay: 100ms
      retry_after_jitter: 20%
      on: [throttled, timeout, lost_reply]
      retry_after_excess: 5m
      per_outcome: {throttled: {max_attempts: 10, initial_delay: 30s}, ambiguous: {max_attempts: 1}}
      per_reason: {mailbox full: {max_attempts: 5, initial_delay: 1h, max_delay: 6h}}
      budget: {kind: grpc, max_tokens: 10, token_ratio: 0.1}
    rate_limit: {rates: [3/s, 100/min], kind: gcra}
    quota: {rate: 2.5/s, kind: leaky_bucket, aligned: true}
"""


def test_one_file_two_worlds() -> None:
    simulated = scenario.parse("workload: [{channel: email, arrivals: {poisson: 20/s}}]\nduration: 1m" + CHANNELS)
    live = NotifierConfig.model_validate(yaml.safe_load(CHANNELS), context=FROM_FILE)
    config = simulated.channel_config(NotificationChannel.EMAIL)
    assert config == live.channels[NotificationChannel.EMAIL]
    assert config.rate_limit is not None
    assert isinstance(make_limiter(config.rate_limit), SeveralRates)
    assert config.quota is not None
    assert isinstance(make_limiter(config.quota), LeakyBucket)
    assert config.retry.on == ("throttled", "timeout", "lost_reply")
    assert config.retry.budget is not None
    assert isinstance(make_budget(config.retry.budget), GrpcBudget)
