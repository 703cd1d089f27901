"""Bounces as mail servers write them (RFC 3464), made of the fields of their recipients."""

from typing import Any


def report(*recipients: list[str], begin: str = "", parameters: str = "") -> bytes:
    """Return a mail with a report of these recipients, after these parts and with these parameters of its type."""
    groups = "\r\n\r\n".join("\r\n".join(fields) for fields in (["Reporting-MTA: dns; mx.example"], *recipients))
    return (
        "From: <MAILER-DAEMON@mx.example>\r\nTo: bounces@shop.example\r\nSubject: failed\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status; {parameters} boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n{begin}"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\n{groups}\r\n\r\n--b--\r\n"
    ).encode()


def failed(address: str, status: str = "5.1.1", action: str = "failed", **more: Any) -> list[str]:
    """Return the fields of a recipient to which nothing is delivered."""
    fields = {"Final-Recipient": f"rfc822; {address}", "Action": action, "Status": status} | more
    return [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
