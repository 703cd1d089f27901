"""The pictures of the README and the guides: ``python tests/guides/pictures.py [NAME…]`` draws them anew.

A plot is what the commands draw that its document shows, word for word. A page is seen in Chromium, at the width of a
desk. Few colours keep each file small.
"""

import shlex
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import trio
from PIL import Image

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "support"), str(TESTS / "service")]

from chromium import Chromium, chromium  # noqa: E402
from console_kit import OTTO, app_of, notification, running  # noqa: E402
from documents import GUIDES, ROOT  # noqa: E402
from guide import Guide  # noqa: E402
from in_process import retrylab  # noqa: E402

from actors.service.http_server import HttpServer  # noqa: E402
from simulation.studio import server  # noqa: E402
from simulation.studio.folder import Folder  # noqa: E402

COLOURS = 64
BYTES_MAX = 80_000
DESK = (1100, 800)

PLOTS = {
    "provider-outage": """
        retrylab plot scenarios/provider-outage.yaml --kind breaker-states --channel email
    """,
    "embedding": """
        retrylab explain --set channels.email.retry.max_attempts=5 --set channels.email.retry.initial_delay=200ms \\
            --set channels.email.retry.jitter=full --set channels.email.circuit_breaker.timeout=60s --out explained.png
    """,
    "experiments": """
        retrylab sweep scenarios/provider-outage.yaml --vary channels.push.retry.max_attempts=1,2,3,5,8 \\
            --replicates 5 --set duration=1m --set 'expect=[channels.push.sent_fraction >= 0.99]' --metric requests \\
            --metric delivery_time_s.p99 --out out/push
        retrylab plot out/push
    """,
    "fitting": """
        retrylab run scenarios/provider-outage.yaml --out recorded
        retrylab fit recorded --channel email --out calibrated.yaml
        retrylab plot recorded calibrated.yaml --channel email
    """,
    "limits": """
        retrylab limits scenarios/budget-against-retry-storm.yaml --map load=0.2..2,trigger=1s..1m \\
            --set workload.0.arrivals.poisson=5/s --set channels.webhook.provider.capacity=2 \\
            --set channels.webhook.retry.budget=null --out out/map
    """,
    "import-celery": """
        retrylab explain shop --channel charge --out charge.png
    """,
    "import-bullmq": """
        retrylab explain src/queues.ts --library bullmq=5.60 --channel monthly --out monthly.png
    """,
    "import-sidekiq": """
        retrylab explain jobs --library sidekiq=7.3 --channel read-timeout --out read-timeout.png
    """,
    "import-oban": """
        retrylab explain lib --channel delivery --out delivery.png
    """,
    "import-tenacity": """
        retrylab explain shop/client.py --channel stock --out stock.png
    """,
    "import-resilience4j": """
        retrylab explain payments --profile prod --channel payment --out payment.png
    """,
    "import-envoy": """
        retrylab explain mesh/envoy.yaml --out cart.png
    """,
    "import-grpc": """
        retrylab explain api/service_config.json --out orders.png
    """,
    "import-aws": """
        retrylab explain reports/store.py --out exports.png
    """,
    "import-dotnet": """
        retrylab explain web --channel rates --out rates.png
    """,
    "several-nodes": """
        retrylab plot scenarios/breaker-of-each-node.yaml --kind breaker-states --set nodes=4
    """,
}
"""The commands whose last one draws the picture of this name; the only one that it writes in the current directory."""


def document_of(name: str) -> str:
    """Return the name of the document that shows a picture."""
    return {"provider-outage": "README"}.get(name, "import" if name.startswith("import-") else name)


def commands(name: str) -> list[str]:
    """Return the commands that draw a plot, a line each."""
    return PLOTS[name].replace("\\\n", " ").strip().splitlines()


def plotted(name: str) -> Image.Image:
    """Return what the commands of a document draw."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scenarios").symlink_to(ROOT / "scenarios")
        for path, text in Guide(GUIDES / "import.md").files.items() if document_of(name) == "import" else ():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_text(text)
        for command in commands(name):
            done = retrylab(*shlex.split(command)[1:], cwd=folder)
            if done.returncode:
                raise RuntimeError(f"{command}: {done.stderr}")
        return _read((Path(folder) / done.stdout.split("written to ")[-1].strip()).read_bytes())


def console() -> Image.Image:
    """Return the console's first page, as an operator sees it with dead letters and a breaker that is open."""

    def look(url: str) -> Image.Image:
        with tempfile.TemporaryDirectory() as folder, chromium(url, *DESK, Path(folder)) as browser:
            browser.open("/console/sign-in")
            browser.find("#token").send_keys(OTTO, "\n")
            browser.wait(lambda: browser.text("h1") == "Overview")
            return _read(browser.driver.get_screenshot_as_png())

    async def serve() -> Image.Image:
        down = [notification(number, f"down-{number}@example.com") for number in range(8)]
        dead = [*down, notification("refused", "nobody@example.com"), notification("phone", "nobody", "sms")]
        async with running(dead) as service, trio.open_nursery() as nursery:
            await service.notifier.operate_breaker("email", "force-open")
            [url] = await HttpServer(app_of(service)).listen("127.0.0.1:0", nursery)
            seen = await trio.to_thread.run_sync(look, url)
            nursery.cancel_scope.cancel()
        return seen

    return trio.run(serve)


def studio() -> Image.Image:
    """Return the page on which the outage of the README is changed and watched."""

    def look(address: str) -> Image.Image:
        url, _, token = address.partition("/?")
        with tempfile.TemporaryDirectory() as folder, chromium(url, *DESK, Path(folder)) as browser:
            browser.open(f"/?{token}")
            browser.open("/edit?file=provider-outage.yaml")
            browser.wait(lambda: _is_run(browser))
            return _read(browser.driver.get_screenshot_as_png())

    async def serve() -> Image.Image:
        send, receive = trio.open_memory_channel[str](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, Folder(ROOT / "scenarios"), 0, send.send_nowait)
            seen = await trio.to_thread.run_sync(look, await receive.receive())
            nursery.cancel_scope.cancel()
        return seen

    return trio.run(serve)


def _is_run(browser: Chromium) -> bool:
    return "expectations" in browser.text("#status") and browser.find("#settings").get_attribute("aria-busy") == "false"


PAGES: dict[str, Callable[[], Image.Image]] = {"service-process": console, "studio": studio}


def _read(png: bytes) -> Image.Image:
    return (
        Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )


def path_of(name: str) -> Path:
    return GUIDES / f"{name}.png"


if __name__ == "__main__":
    for wanted in sys.argv[1:] or [*PLOTS, *PAGES]:
        drawn = PAGES[wanted]() if wanted in PAGES else plotted(wanted)
        drawn.save(path_of(wanted), optimize=True)
        print(f"{path_of(wanted)}: {drawn.size}, {path_of(wanted).stat().st_size:,} bytes")
