"""Filling in: each attempt has its template filled in as it sets out, and waits where the template cannot be used.

What may have ended an earlier process (:mod:`actors.pipeline.isolation`) is filled in as late as possible: once it is
marked, so that a template which ends the process is counted for its notification.
"""

from __future__ import annotations

import logging

from actors.domain.attempts import Attempt
from actors.domain.caution import Caution
from actors.domain.delivery import Delivery
from actors.errors import TemplateError, TemplateRefused, described, shortened
from actors.instants import NS_PER_S
from actors.kernel.async_handlers import failure
from actors.messages import SendNotification
from actors.pipeline.readiness import NotBefore
from actors.pipeline.templates import Templates
from actors.pipeline.wiring import Wiring

logger = logging.getLogger(__name__)

LOOK_AGAIN_NS = 10 * NS_PER_S
"""How long until a template that could not be used is looked at again, in nanoseconds."""


class Filling:
    """Fills in the templates of what is sent."""

    def __init__(self, templates: Templates, wiring: Wiring) -> None:
        self._templates = templates
        self._wiring = wiring

    def _is_late(self, caution: Caution | None) -> bool:
        if caution is None or self._wiring.isolation is None:
            return False
        return type(self._templates) is Templates  # a class of the user's may put another recipient in

    def command_of(self, delivery: Delivery) -> SendNotification:
        """Return the command of the next attempt: filled in, unless the template is filled in when the attempt begins.

        Raises:
            TemplateRefused: the template cannot be used.
            TemplateError: the template cannot be filled in.
        """
        if not self._is_late(delivery.caution):
            return filled_in(self._templates, delivery.command)
        self._templates.check(delivery.command)
        return delivery.command

    def fill_in(self, attempt: Attempt) -> TemplateError | None:
        """Fill in the template of an attempt that begins and was marked; return what keeps it from being made."""
        if "template" in attempt.command.metadata and self._is_late(attempt.caution):
            try:
                command = filled_in(self._templates, attempt.command)
            except TemplateError as error:
                return error
            attempt._fill_in(command)
        return None


def until_looked_at(delivery: Delivery, error: TemplateError, now_ns: int) -> NotBefore | None:
    """Return until when a notification waits whose template was not filled in; None: it never can be."""
    if not isinstance(error, TemplateRefused):
        return None
    again_ns, expires_ns = now_ns + LOOK_AGAIN_NS, delivery.expires_at_ns
    if expires_ns is not None and expires_ns > now_ns:
        again_ns = min(again_ns, expires_ns)
    return NotBefore(again_ns, is_quiet=False)


def filled_in(templates: Templates, command: SendNotification) -> SendNotification:
    """Return what templates, perhaps custom ones, make of a command.

    Raises:
        TemplateError: they raise, or return anything else than this notification.
    """
    try:
        filled = templates.fill_in(command)
    except TemplateError as error:
        raise type(error)(shortened(str(error))) from None
    except BaseException as error:
        logger.error("templates raised on notification %r", command.notification_id, exc_info=failure(error))
        raise TemplateError(f"templates raised {described(error)}") from error
    if (
        type(filled) is not SendNotification
        or filled.notification_id != command.notification_id
        or filled.channel != command.channel
    ):
        raise TemplateError(shortened(f"templates: wanted the notification with its text filled in, got {filled!r}"))
    return filled
