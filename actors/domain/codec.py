"""The stored form of commands and events in a store that outlives the process: msgpack, each with its type's name.

A command is read back as it was written, or refused when it is written: a command that came back changed would look
like another payload under the same id.

A store may add a checksum as one more field of the mapping, which readers without checksums ignore.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from actors.domain.audit import AuditEntry, entry_of
from actors.domain.endpoints import Endpoint
from actors.domain.suppressions import Suppression
from actors.errors import Unstorable
from actors.messages import (
    DeadLetterDiscarded,
    DuplicateIgnored,
    NotificationDeferred,
    NotificationEvent,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    SendNotification,
)

logger = logging.getLogger(__name__)

StoredEvent: TypeAlias = (
    NotificationRequested
    | NotificationSent
    | NotificationFailed
    | NotificationMovedToDeadLetter
    | NotificationSuppressed
    | NotificationDeferred
    | DuplicateIgnored
    | NotificationRedriven
    | DeadLetterDiscarded
)

_DECIMAL = 1
"""The code of the msgpack extension for a Decimal in metadata, which msgspec would write as text."""


def _read_extension(code: int, data: memoryview) -> Any:
    if code == _DECIMAL:
        return Decimal(bytes(data).decode("ascii"))
    raise ValueError(f"wanted an extension with the code {_DECIMAL}, got {code}")


decode_endpoint: Callable[[bytes], Endpoint] = msgspec.msgpack.Decoder(Endpoint).decode
decode_suppression: Callable[[bytes], Suppression] = msgspec.msgpack.Decoder(Suppression).decode
_encode = msgspec.msgpack.Encoder().encode
encode_endpoint: Callable[[Endpoint], bytes] = _encode
encode_suppression: Callable[[Suppression], bytes] = _encode

_NO_ZONE = b"\xa4zone\xc0"
"""The last field of a command without a time zone. It is not written, as releases that knew no zones did not."""

_decode_command = msgspec.msgpack.Decoder(SendNotification, ext_hook=_read_extension).decode
decode_event: Callable[[bytes], NotificationEvent] = msgspec.msgpack.Decoder(
    StoredEvent, ext_hook=_read_extension
).decode
_decode_events = msgspec.msgpack.Decoder(list[StoredEvent], ext_hook=_read_extension).decode
_decode_audit = msgspec.msgpack.Decoder(StoredEvent | AuditEntry, ext_hook=_read_extension).decode


def encode_command(command: SendNotification) -> bytes:
    """Return a command in writing.

    Raises:
        Unstorable: it would not come back as it is, because of its metadata, or because its text is no Unicode.
    """
    try:
        if not command.metadata:
            return _without_zone(_encode(command))
        metadata = _with_extensions(command.metadata)
        written = _without_zone(_encode(msgspec.structs.replace(command, metadata=metadata)))
        if _decode_command(written) == command:
            return written
        why = f"its metadata would come back changed: {dict(command.metadata)!r}"
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        why = str(error)
    raise Unstorable(
        f"notification {command.notification_id!r} cannot be stored; wanted text, whole numbers of at most 64 bits, "
        f"floats, decimals, datetimes with a time zone, booleans, None, and lists and mappings of those, got {why}"
    )


def _without_zone(written: bytes) -> bytes:
    return bytes((written[0] - 1,)) + written[1 : -len(_NO_ZONE)] if written.endswith(_NO_ZONE) else written


def _with_extensions(value: Any) -> Any:
    if isinstance(value, Decimal):
        return msgspec.msgpack.Ext(_DECIMAL, str(value).encode("ascii"))
    if isinstance(value, Mapping):
        return {key: _with_extensions(inner) for key, inner in value.items()}
    return [_with_extensions(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def decode_command(written: bytes) -> SendNotification:
    """Return a command as it was written, but without its time zone if this machine does not know the zone."""
    try:
        return _decode_command(written)
    except msgspec.ValidationError:
        fields = msgspec.msgpack.decode(written, ext_hook=_read_extension)
        if not isinstance(fields, dict) or fields.pop("zone", None) is None:
            raise
        logger.warning("%s: its time zone is unknown here, and left out", fields.get("notification_id"))
        return msgspec.convert(fields, SendNotification)


def encode_event(event: NotificationEvent | AuditEntry) -> bytes:
    """Return an event in writing. Text that is no Unicode, as a provider may answer, comes back escaped."""
    if (type(event) is NotificationRedriven or type(event) is AuditEntry) and event.edit:
        event = msgspec.structs.replace(event, edit=_with_extensions(event.edit))
    try:
        return _encode(event)
    except UnicodeEncodeError:
        texts = {
            name: value.encode("utf-8", "backslashreplace").decode("utf-8")
            for name, value in msgspec.structs.asdict(event).items()
            if type(value) is str
        }
        return _encode(msgspec.structs.replace(event, **texts))


def encode_events(events: Iterable[NotificationEvent]) -> bytes:
    return _encode([msgspec.Raw(encode_event(event)) for event in events])


def decode_events(written: bytes) -> tuple[NotificationEvent, ...]:
    return tuple(_decode_events(written))


def decode_audit_entry(written: bytes) -> AuditEntry:
    """Return an entry of the audit trail, which was written as such or as an event."""
    read = _decode_audit(written)
    entry = entry_of(read)
    if entry is None:
        raise msgspec.ValidationError(f"wanted an audit entry, got a {type(read).__name__}")
    return entry


_SEAL = b"\xa3crc\xce"
"""The bytes before the four of a checksum: the name of its field, and the type of a whole number of 32 bits."""

_FIXMAP, _MAP16, _FIELDS_OF_FIXMAP = 0x80, 0xDE, 15
_ONE_FIELD_MORE = {
    _FIXMAP | fields: bytes((_FIXMAP | fields + 1,)) if fields < _FIELDS_OF_FIXMAP else bytes((_MAP16, 0, fields + 1))
    for fields in range(_FIELDS_OF_FIXMAP + 1)
}
"""By the first byte of a mapping of up to 15 fields: how the same begins with one more."""


class Damaged(ValueError):
    """The bytes that were read are not the bytes that were written there."""


def seal(written: bytes, notification_id: str | None, number: int = 0) -> bytes:
    """Return what :func:`encode_command` or :func:`encode_event` has returned, with a checksum over it and its place.

    Args:
        written: of a command or an event.
        notification_id: of the row that it is in: at another one's it is damaged, too.
        number: what else is in that row and may not be another.
    """
    header = _ONE_FIELD_MORE.get(written[0])
    if header is not None:
        rest = written[1:]
    else:
        header, rest = written[:1] + (int.from_bytes(written[1:3], "big") + 1).to_bytes(2, "big"), written[3:]
    body = header + rest
    return body + _SEAL + _checksum(body, notification_id, number)


def check_seal(sealed: bytes, notification_id: str | None, number: int = 0) -> None:
    """Check a text that is read at a place; one without a checksum, by an earlier release, passes.

    Raises:
        Damaged: it is not the text that was sealed there.
    """
    if not isinstance(sealed, bytes):
        raise Damaged("it was changed on the disk: wanted bytes")
    if sealed[-9:-4] == _SEAL and _checksum(sealed[:-9], notification_id, number) != sealed[-4:]:
        raise Damaged("it was changed on the disk: its checksum is that of something else")


def _checksum(body: bytes, notification_id: str | None, number: int) -> bytes:
    place = f"{number} {notification_id}".encode("utf-8", "surrogatepass")
    return zlib.crc32(body, zlib.crc32(place)).to_bytes(4, "big")
