"""What the words for outcomes in a log mean: those of this product, of HTTP's status codes, and of common logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from simulation.fitting.log import OutcomeKind

NAMES = {
    "sent": OutcomeKind.SENT,
    "transient": OutcomeKind.TRANSIENT,
    "throttled": OutcomeKind.THROTTLED,
    "permanent": OutcomeKind.PERMANENT,
    "dead_destination": OutcomeKind.DEAD_DESTINATION,
    "channel_fault": OutcomeKind.CHANNEL_FAULT,
    "ambiguous": OutcomeKind.AMBIGUOUS,
}
"""What the values of an outcome map may be."""

_WORDS = {
    OutcomeKind.SENT: "sent ok okay success successful succeeded delivered accepted true pass passed done 2xx",
    OutcomeKind.TRANSIENT: "transient transienterror failed fail failure error false unavailable serviceunavailable "
    "retry temporary temporaryfailure softbounce deferred connectionerror connectionreset connectionrefused refused "
    "408 425 5xx",
    OutcomeKind.THROTTLED: "throttled throttle ratelimited ratelimit toomanyrequests 429",
    OutcomeKind.PERMANENT: "permanent permanenterror permanentfailure rejected invalid badrequest 4xx",
    OutcomeKind.DEAD_DESTINATION: "dead deaddestination hardbounce bounced unregistered notregistered gone "
    "unsubscribed 410",
    OutcomeKind.CHANNEL_FAULT: "channelfault unauthorized unauthorised forbidden credentials authentication 401 403",
    OutcomeKind.AMBIGUOUS: "ambiguous timeout timedout deadlineexceeded noanswer noreply lost lostreply",
}
_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_STATUS = re.compile(r"([1-5])[0-9]{2}(?:\.0+)?")


def kind_of(word: str, given: Mapping[str, OutcomeKind]) -> OutcomeKind | None:
    """Return what a word means, or None when it is not known.

    Case, spaces, hyphens and underscores do not matter. `given` holds words as they are written, and comes first.
    """
    if word in given:
        return given[word]
    plain = re.sub(r"[\s_-]+", "", word).lower()
    if _STATUS.fullmatch(plain):
        code = plain.partition(".")[0]
        return _KIND_OF.get(code) or _KIND_OF.get(f"{code[0]}xx")
    return _KIND_OF.get(plain)


def parse_map(texts: Iterable[str], option: str = "--outcome-map") -> tuple[dict[str, OutcomeKind], list[str]]:
    """Return what ``word=transient`` texts say, and what is wrong with them."""
    given: dict[str, OutcomeKind] = {}
    problems: list[str] = []
    for text in texts:
        word, equals, name = text.rpartition("=")
        kind = NAMES.get(name.strip().lower().replace("-", "_"))
        if not equals or kind is None:
            problems.append(f"{option} {text}: wanted word=outcome, the outcome one of {', '.join(NAMES)}")
        else:
            given[word] = kind
    return given, problems
