"""An error that says so where trio is needed and the event loop is another one."""

from __future__ import annotations

import trio

from actors.errors import ActorSystemError


def trio_token() -> trio.lowlevel.TrioToken:
    """Return the token of trio's loop, which this is called in.

    Raises:
        ActorSystemError: it is called in another loop, or in none.
    """
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        raise ActorSystemError(f"wanted an event loop of trio's, got {_what_runs()}") from None


def _what_runs() -> str:
    import asyncio  # only here: it takes its time

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "none"
    return "asyncio's, where Notifier.open_asyncio opens one"
