"""What the words for outcomes in a log mean: those of this product, of HTTP's status codes, and of common logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from simulation.fitting.log import Kind

NAMES = {
    "sent": Kind.SENT,
    "transient": Kind.TRANSIENT,
    "throttled": Kind.THROTTLED,
    "permanent": Kind.PERMANENT,
    "dead_destination": Kind.DEAD_DESTINATION,
    "channel_fault": Kind.CHANNEL_FAULT,
    "ambiguous": Kind.AMBIGUOUS,
}
"""What the values of an outcome map may be."""

_WORDS = {
    Kind.SENT: "sent ok okay success successful succeeded delivered accepted true pass passed done 2xx",
    Kind.TRANSIENT: "transient transienterror failed fail failure error false unavailable serviceunavailable retry "
    "temporary temporaryfailure softbounce deferred connectionerror connectionreset connectionrefused refused 408 425 "
    "5xx",
    Kind.THROTTLED: "throttled throttle ratelimited ratelimit toomanyrequests 429",
    Kind.PERMANENT: "permanent permanenterror permanentfailure rejected invalid badrequest 4xx",
    Kind.DEAD_DESTINATION: "dead deaddestination hardbounce bounced unregistered notregistered gone unsubscribed 410",
    Kind.CHANNEL_FAULT: "channelfault unauthorized unauthorised forbidden credentials authentication 401 403",
    Kind.AMBIGUOUS: "ambiguous timeout timedout deadlineexceeded noanswer noreply lost lostreply",
}
_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_STATUS = re.compile(r"([1-5])[0-9]{2}(?:\.0+)?")


def kind_of(word: str, given: Mapping[str, Kind]) -> Kind | None:
    """Return what a word means, or None when nobody knows.

    Case, spaces, hyphens and underscores do not matter. `given` holds words as they are written, and comes first.
    """
    if word in given:
        return given[word]
    plain = re.sub(r"[\s_-]+", "", word).lower()
    if _STATUS.fullmatch(plain):
        code = plain.partition(".")[0]
        return _KIND_OF.get(code) or _KIND_OF.get(f"{code[0]}xx")
    return _KIND_OF.get(plain)


def parse_map(texts: Iterable[str], option: str = "--outcome-map") -> tuple[dict[str, Kind], list[str]]:
    """Return what ``word=transient`` texts say, and what is wrong with them."""
    given: dict[str, Kind] = {}
    problems: list[str] = []
    for text in texts:
        word, equals, name = text.rpartition("=")
        kind = NAMES.get(name.strip().lower().replace("-", "_"))
        if not equals or kind is None:
            problems.append(f"{option} {text}: wanted word=outcome, the outcome one of {', '.join(NAMES)}")
        else:
            given[word] = kind
    return given, problems
