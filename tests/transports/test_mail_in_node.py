"""Mails as a reader takes them that nobody here wrote: the package mailparser for Node, which many programs use."""

import base64
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from node_packages import node_with
from test_mail import INJECTIONS, SHOP, command, in_lines

from actors.transports.mail import mail_of

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

PACKAGE = "mailparser@3.14.2"
READ = """
const {simpleParser} = require('mailparser');
const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const address = (header) => header ? header.value.map(({name, address}) => [name, address]) : [];
const options = {skipTextToHtml: true, skipHtmlToText: true};
Promise.all(given.map((mail) => simpleParser(Buffer.from(mail, 'base64'), options)))
    .then((mails) => console.log(JSON.stringify(mails.map((mail) => ({
        from: address(mail.from), to: address(mail.to), cc: address(mail.cc), bcc: address(mail.bcc),
        subject: mail.subject || '', text: mail.text, html: mail.html || null, id: mail.messageId,
        headers: [...mail.headers.keys()].sort(), attachments: mail.attachments.length,
    })))));
"""
HEADERS = ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "to"]
TEXTS = [
    "Hello",
    "Grüße 🍉",
    "a\r\n.\r\nb",
    ".",
    "From me\nFrom you",
    "x" * 2_000,
    "ä" * 999,
    "trailing  \n\n",
    "=3D = =?utf-8?q?x?=",
    "日本語" * 200,
    "-- \nsignature\n--boundary--",
]
SUBJECTS = ["Order 17", "Grüße 🍉 " * 30, "x" * 500, " a  b ", "a\tb", "日" * 100, '"quoted" \\ back', "Re: [x] (y)"]
NAMES = ["Ann", "Ann B. Ö", "O'Neil, Ann", 'a "b" c', "Ann <x@y.example>", "日本 太郎", "x" * 300, "=?", "a@b.example"]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[bytes]], list[dict[str, Any]]]:
    """A function that returns what mailparser finds in mails."""
    folder = tmp_path_factory.mktemp("mailparser")
    node = node_with(PACKAGE, folder)

    def read(mails: list[bytes]) -> list[dict[str, Any]]:
        given = json.dumps([base64.b64encode(mail).decode() for mail in mails])
        done = subprocess.run([node, "-e", READ], cwd=folder, input=given, capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    return read


def written(**given: Any) -> bytes:
    return mail_of(command(**given), SHOP, 1_800_000_000.0, key="key-17").content


def test_texts_arrive_as_they_were_given(read):
    mails = [written(message=text) for text in TEXTS + INJECTIONS]
    mails += [written(message=f"<p>{text}</p>", metadata={"html": True, "text": text}) for text in TEXTS]
    found = read(mails)
    assert [each["text"] for each in found] == [in_lines(text) for text in TEXTS + INJECTIONS + TEXTS]
    assert [each["html"] for each in found[len(TEXTS + INJECTIONS) :]] == [in_lines(f"<p>{text}</p>") for text in TEXTS]
    assert {(each["id"], each["attachments"]) for each in found} == {(found[0]["id"], 0)}


def test_subjects_and_names_arrive_as_they_were_given_and_no_header_is_added(read):
    subjects, names = SUBJECTS + INJECTIONS, NAMES + INJECTIONS
    found = read(
        [written(subject=subject) for subject in subjects]
        + [written(subject=None, recipient=mailbox(name)) for name in names]
    )
    to_subjects, to_names = found[: len(subjects)], found[len(subjects) :]
    assert [each["subject"] for each in to_subjects] == subjects
    assert [each["to"] for each in to_names] == [[[name, "ann@example.com"]] for name in names]
    assert {(tuple(each["headers"]), *map(json.dumps, (each["from"], each["cc"], each["bcc"]))) for each in found} == {
        (tuple(wanted), '[["Shop", "shop@example.com"]]', "[]", "[]")
        for wanted in (
            sorted([*HEADERS, "subject", "content-transfer-encoding"]),
            sorted([*HEADERS, "content-transfer-encoding"]),
        )
    }


def mailbox(name: str) -> str:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <ann@example.com>'
