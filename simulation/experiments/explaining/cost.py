"""What the provider gets to do with the settings of a channel, and what that costs."""

from __future__ import annotations

from actors.formatting import counted, plain_number
from actors.lint.traffic import trips
from actors.settings.channel import ChannelConfig
from simulation.experiments.explaining.evidence import By, Sentence, marked
from simulation.experiments.explaining.schedule import Schedule
from simulation.results.formatting import duration_text


def cost_in_words(config: ChannelConfig, rate: float, schedule: Schedule) -> tuple[Sentence, ...]:
    """Return what the provider gets to do with these settings, at so many calls a second.

    Args:
        config: of the channel.
        rate: calls a second.
        schedule: of failures without a rule of their own.
    """
    limit = config.retry.max_elapsed
    attempts = schedule.max_attempts if limit is None else schedule.mean_attempts
    by = By.DRAWS if limit is not None and schedule.drawn else By.FORMULA
    least = "at least " if limit is not None and schedule.is_cut else ""
    upstream = config.provider.upstream
    copies = "" if config.hedging is None else ", before copies that hedging sends"
    requests = marked(counted(attempts, "request"), by)
    become = marked(plain_number(rate * attempts), by)
    text = (
        f"Where all fail, a call is {least}{requests}{copies}: {rate:g}/s become up to {become}/s{_kept_back(config)}."
    )
    said = [Sentence(text, by)]
    if upstream is not None:
        asked = counted(upstream.retry.max_attempts, "request")
        said.append(Sentence(f"Each attempt that the provider takes is up to {asked} of its own to its upstream."))
    if attempts > 1 and limit is None:
        shares = ((p, _amplification(p, schedule.max_attempts)) for p in (0.1, 0.5, 0.9))
        rates = ", ".join(f"×{times:.3g} where {100 * p:g}% fail" for p, times in shares)
        allowed = "" if config.retry.budget is None else ", as far as the budget allows"
        said.append(Sentence(f"Where a share fails at random{allowed}: {rates}."))
    said.append(
        Sentence(
            f"Where attempts hang, each takes {duration_text(config.timeout)}: at {rate:g}/s, first attempts alone are "
            f"{counted(rate * config.timeout, 'request')} at a time."
        )
    )
    if price := config.provider.price:
        costs = marked(plain_number(price * attempts), by)
        said.append(Sentence(f"A call costs {plain_number(price)}, and {least}{costs} where all fail.", by))
    return tuple(said)


def _kept_back(config: ChannelConfig) -> str:
    """Return what keeps requests back that would be made else; nothing where all are made."""
    by = ["the retry budget"] if config.retry.budget is not None else []
    by += ["an open breaker"] if trips(config.circuit_breaker) else []
    return f", but for what {' and '.join(by)} {'keep' if len(by) > 1 else 'keeps'} back" if by else ""


def _amplification(failure_rate: float, attempts: int) -> float:
    """Return 1 + p + p² + … of so many attempts."""
    return (1.0 - failure_rate**attempts) / (1.0 - failure_rate)
