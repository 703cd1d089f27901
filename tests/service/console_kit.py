"""A service with dead letters in it, and a browser that reads no more of its console than people do."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx2
import trio
from desks import ANN as ANN, OTTO as OTTO, SHOP as SHOP, TOKENS
from selectolax.lexbor import LexborHTMLParser

from actors import NotificationChannel, Notifier, Provider, SendNotification
from actors.outcomes import Permanent, Sent, Transient
from actors.service import console
from actors.service.app import Application
from actors.service.http.access import Access
from actors.service.http.health import Status
from actors.service.observability.metrics import Metrics
from actors.service.operations.breakers import BreakerWatch
from actors.service.operations.dead_letters import DeadLetters
from actors.storage.memory import MemoryStore

HOST = "console.test"

NASTY = "<script>alert('x')</script> & \"more\""
"""What a provider may answer, and a page must not take for its own."""


class Gateway(Provider):
    """Does what the recipient's name says: ``nobody`` does not exist, at ``down`` the gateway is down."""

    def __init__(self):
        self.sent = []

    def attempt(self, attempt, now_ns):
        async def deliver():
            recipient = attempt.command.recipient
            if recipient.startswith("nobody"):
                return Permanent(reason="550 no such user", answer=f"550 5.1.1 {NASTY}")
            if recipient.startswith("down"):
                return Transient(reason="503 gateway down", answer="HTTP/1.1 503 Service Unavailable")
            self.sent.append(attempt.command)
            return Sent()

        return deliver


def notification(number, recipient, channel="email", **fields):
    return SendNotification(notification_id=f"n-{number}", channel=NotificationChannel(channel), recipient=recipient,
        message=f"Order {number}", **fields)  # fmt: skip


SETTINGS = {
    "channels": {
        "email": {"retry": {"max_attempts": 2}, "circuit_breaker": {"failure_threshold": 100}},
        "sms": {"retry": {"max_attempts": 1}, "circuit_breaker": {"failure_threshold": 100}},
    },
    "drain": 0,
}


@asynccontextmanager
async def running(commands=(), *, settings=SETTINGS, faults=(), tokens=TOKENS, takes=None):
    """Run a service that has been sent these commands, and has nothing in flight any more.

    `takes` are the providers of its channels: the first of each, and that which is called backup.
    """
    metrics, watch, store = Metrics(), BreakerWatch(), MemoryStore()
    gateway, backup = (Gateway(), None) if takes is None else takes
    both = {"primary": gateway, "backup": backup or gateway}
    providers = {name: both if "failover" in own else gateway for name, own in settings["channels"].items()}

    def on_event(event):
        metrics.record(event)
        watch.record(event)

    async with (
        trio.open_nursery() as nursery,
        Notifier.open(settings, providers=providers, store=store, on_event=on_event, seed=1) as notifier,
    ):
        metrics.start_from(store, notifier.pipeline.wiring.stages)
        service = SimpleNamespace(notifier=notifier, dead_letters=DeadLetters(notifier, nursery), access=Access(tokens),
            config=SimpleNamespace(faults=faults, notifier=None), store=store, metrics=metrics, breakers=watch,
            status=Status(notifier.system.present), gateway=gateway)  # fmt: skip
        for command in commands:
            await notifier.send(command)
        await notifier.wait_until_quiet()
        yield service
        nursery.cancel_scope.cancel()


def app_of(service):
    app = Application(routes=console.routes())
    app.use(service)
    return app


class Page:
    """One answer, read as HTML."""

    def __init__(self, response):
        self.response = response
        self.status = response.status_code
        self.path = urlsplit(str(response.url)).path
        self.html = LexborHTMLParser(response.text)

    def texts(self, selector):
        """Return the text of every element that fits, its white space as people see it."""
        return [" ".join(node.text(separator=" ").split()) for node in self.html.css(selector)]

    def text(self, selector="main"):
        [text] = self.texts(selector)
        return text

    def rows(self, caption):
        """Return the cells of every row in the body of the table with this caption."""
        for table in self.html.css("table"):
            if table.css_first("caption").text().startswith(caption):
                return [
                    [" ".join(cell.text(separator=" ").split()) for cell in row.css("th, td")]
                    for row in table.css("tbody tr")
                ]
        raise AssertionError(f"no table {caption!r}")

    def form(self, action):
        """Return the fields of the form that is sent there, as they are filled in."""
        [form] = [form for form in self.html.css("form[method=post]") if form.attributes["action"] == action]
        fields = {}
        for field in form.css("input, textarea, select"):
            name = field.attributes["name"]
            if field.tag == "textarea":
                fields[name] = field.text().removeprefix("\n")
            elif field.tag == "select":
                chosen = field.css_first("option[selected]") or field.css_first("option")
                fields[name] = chosen.attributes.get("value", chosen.text())
            elif field.attributes.get("type") != "radio" or "checked" in field.attributes:
                fields[name] = field.attributes.get("value") or ""
        return fields

    @property
    def actions(self):
        """Where the forms of this page go that would change anything."""
        forms = self.html.css("form[method=post]")
        return {form.attributes["action"] for form in forms} - {"/console/sign-out"}


class Browser:
    """Follows redirects, keeps cookies, and says where its forms come from."""

    def __init__(self, app, scheme="http"):
        self.origin = f"{scheme}://{HOST}"
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url=self.origin, follow_redirects=True
        )

    async def get(self, path, **query):
        return Page(await self.client.get(path, params=query or None))

    async def post(self, path, fields, headers=None):
        sent_from = {"origin": self.origin} if headers is None else headers
        return Page(await self.client.post(path, data=fields, headers=sent_from))

    async def sign_in(self, token):
        page = await self.get("/console/sign-in")
        return await self.post("/console/sign-in", page.form("/console/sign-in") | {"token": token})

    async def choose(self, page, button, **filled_in):
        """Send the form that a button of a page belongs to, which asks for another page, as it is filled in."""
        [node] = [node for node in page.html.css("button[form]") if node.text() == button]
        form = page.html.css_first(f"form#{node.attributes['form']}")
        fields = {field.attributes["name"]: field.attributes.get("value") or "" for field in form.css("input")}
        for select in form.css("select"):
            fields[select.attributes["name"]] = getattr(select.css_first("option[selected]"), "text", str)()
        fields[node.attributes["name"]] = node.attributes["value"]
        return await self.get(form.attributes["action"], **fields | filled_in)

    async def send(self, page, action, **filled_in):
        return await self.post(action, page.form(action) | filled_in)


@asynccontextmanager
async def signed_in(commands=(), token=OTTO, **settings):
    """Give a service and a browser that has signed in."""
    async with running(commands, **settings) as service:
        browser = Browser(app_of(service))
        await browser.sign_in(token)
        yield service, browser
