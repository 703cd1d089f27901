"""Asks two suppliers for a price and takes the first answer; the other request is cancelled. httpx2, tenacity."""

import random

import httpx2
import tenacity
import trio

HOSTS = ("api.example.com", "backup.example.com")


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(httpx2.TransportError),
    stop=tenacity.stop_after_delay(10) | tenacity.stop_after_attempt(6),
    wait=tenacity.wait_random_exponential(multiplier=0.3, max=3),
    sleep=trio.sleep,
)
async def ask(client, host, article):
    answer = await client.get(f"https://{host}/prices/{article}", headers={"x-try": str(random.random())})
    return answer.json()


async def price(arrival):
    found = []
    async with httpx2.AsyncClient(timeout=httpx2.Timeout(3.0, pool=1.0)) as client, trio.open_nursery() as nursery:

        async def first(host, after):
            await trio.sleep(after)
            try:
                found.append(await ask(client, host, arrival.number))
            except tenacity.RetryError:
                return
            nursery.cancel_scope.cancel()

        for number, host in enumerate(HOSTS):
            nursery.start_soon(first, host, 0.3 * number)
    if not found:
        raise LookupError(f"no price for {arrival.number}")
