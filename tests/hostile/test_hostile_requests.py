"""The requests that `kind_requests` draws get as far as they are meant to."""

from kind_requests import KIND, opened


async def test_drawn_requests_come_to_every_kind_of_answer():
    async with opened() as feed:
        statuses = {status for seed in range(120) for status in await feed(KIND.input(seed))}
    assert statuses >= {200, 207, 303, 400, 401, 403, 404, 405, 422, 431}, sorted(statuses)
