from __future__ import annotations

from actors.config import RetryConfig


def base_delay(config: RetryConfig, attempt: int) -> float:
    raise NotImplementedError
