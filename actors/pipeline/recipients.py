"""Whether a recipient can be sent to: asked of the providers of its channel before a command is accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from actors.domain.attempts import Provider
from actors.kernel.async_handlers import failure
from actors.messages import SendNotification
from actors.pipeline.templates import Templates

logger = logging.getLogger(__name__)


def recipient_check(
    providers: Collection[Provider], templates: Templates | None, *, may_be_empty: bool = True
) -> Callable[[SendNotification], str | None] | None:
    """Return a function that names what is wrong with a command's recipient, or returns None if it can be sent to.

    Any provider may send the command, so a recipient is wrong only if each provider objects. Without any check to make
    there is no function, but None: a simulated provider takes every address. `may_be_empty` allows an empty address.
    """
    asks = not any(provider.outcomes_are_plain for provider in providers)
    if not asks and may_be_empty:
        return None
    has_own_templates = templates is not None and type(templates) is not Templates

    def check(command: SendNotification) -> str | None:
        if not (command.recipient or may_be_empty):
            return "wanted an address, got nothing"
        if not asks or (has_own_templates and "template" in command.metadata):
            return None
        first = None
        for provider in providers:
            try:
                problem = provider.recipient_problem(command)
            except BaseException as error:
                logger.error("recipient_problem raised on %r", command.notification_id, exc_info=failure(error))
                problem = None
            if problem is None:
                return None
            first = problem if first is None else first
        return first

    return check
