"""Sends invoices: httpx and stamina, one client for all, a pool of workers behind a queue, a deadline for each."""

import contextlib
import uuid
from datetime import UTC, datetime

import httpx
import stamina
import trio


@stamina.retry(on=httpx.HTTPError, attempts=4, wait_initial=0.2, wait_max=5.0, timeout=30.0)
async def send(client, invoice):
    answer = await client.put(
        f"https://api.example.com/invoices/{invoice}",
        json={"id": str(uuid.uuid4()), "at": datetime.now(UTC).isoformat()},
    )
    answer.raise_for_status()
    return answer.json()


async def worker(client, invoices):
    async for invoice in invoices:
        with trio.move_on_after(20):
            with contextlib.suppress(httpx.HTTPError):
                await send(client, invoice)


class Invoices:
    async def main(self):
        self.queue, invoices = trio.open_memory_channel(500)
        async with httpx.AsyncClient(timeout=2.0) as client, trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(worker, client, invoices.clone())

    async def add(self, arrival):
        await self.queue.send(arrival.number)


service = Invoices()
