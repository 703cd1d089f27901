"""When to disable an endpoint at which all attempts fail.

As Svix does (https://docs.svix.com/retries, "Disabling failing endpoints"): after five days in which all attempts have
failed, with a clock that starts only once several have failed within 24 hours, the first and the last of them at least
12 hours apart. So an endpoint that is seldom asked is not disabled for two bad moments a week apart. Here the span is a
fifth of `disable_after`, and the difference a tenth: the same hours for five days. The state of a failing endpoint is
forgotten after twice `disable_after`, as by Svix's server (svix-webhooks, server/svix-server/src/worker.rs: the entry
in its cache). Svix counts only exhausted messages; here each attempt counts, as schedules of retries may be as long as
the five days.
"""

from __future__ import annotations

import msgspec

from actors.endpoints import EndpointMark, EndpointState
from actors.instants import wait_ns
from actors.settings.redrive import EndpointsConfig

SPAN_SHARE, APART_SHARE = 5, 10
"""The parts of `disable_after` that two failures may be apart at most, and at least, for the clock to start."""


def after_failure(known: EndpointMark | None, config: EndpointsConfig, now_ns: int) -> EndpointMark | None:
    """Return the new state of an endpoint after an attempt that fails; None: it stays as it is.

    Args:
        known: the endpoint's state until now. None: it is not known as failing.
        config: the settings of disabling.
        now_ns: the present instant by the calendar, in nanoseconds since 1970. If it is before `known`, the calendar
            was set back, and the clock starts anew.
    """
    disable_after_ns = wait_ns(config.disable_after)
    if known is not None and known.state is EndpointState.DISABLED:
        return None
    if known is not None and known.since_ns <= now_ns < known.until_ns:
        age_ns = now_ns - known.since_ns
        if known.state is EndpointState.FAILING:
            is_over = age_ns >= disable_after_ns
            return msgspec.structs.replace(known, state=EndpointState.DISABLED) if is_over else None
        if age_ns * APART_SHARE < disable_after_ns:
            return None
        if age_ns * SPAN_SHARE <= disable_after_ns:
            return msgspec.structs.replace(known, state=EndpointState.FAILING)
    until_ns = now_ns + wait_ns(2 * config.disable_after)
    return EndpointMark(state=EndpointState.SUSPECTED, since_ns=now_ns, until_ns=until_ns)
