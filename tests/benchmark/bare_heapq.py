"""The same work as one loop over a heap, everything inline and nothing recorded: the limit for the language."""

import math
from collections import deque
from heapq import heappop, heappush

from load import Draws, Load
from simpy_process import CLOSED, HALF_OPEN, OPEN, WINDOW

ARRIVE, RETRY, END, PROBE, RESUME = range(5)


def run(load: Load) -> tuple[int, int, int]:
    """Return how many were sent, dead-lettered and attempted."""
    draws = Draws(load)
    draw_latency, draw_fate, gap, draw_user = draws.latency, draws.fate, draws.gap, draws.user
    failure_rate, outages, attempt_timeout = load.failure_rate, load.outages, load.attempt_timeout
    limit, threshold, max_attempts, count = (
        load.user_limit,
        load.failure_threshold,
        load.max_attempts,
        load.notifications,
    )
    delays = [min(load.first_delay * load.multiplier**n, load.max_delay) for n in range(max_attempts)]
    per_doubling = load.resume_rate * load.resume_doubling

    heap: list[tuple[float, int, int, str, int, bool, bool]] = [(gap(), 0, ARRIVE, "", 0, False, False)]
    serial = sent = dead = attempted = number = failures = released = 0
    state, closed_at, reopens_at = CLOSED, 0.0, 0.0
    seen: set[str] = set()
    logs: dict[str, deque[float]] = {}
    waiting: deque[tuple[str, int]] = deque()
    while heap:
        now, _, kind, notification_id, attempts, ok, probe = heappop(heap)
        serial += 1
        if kind == END:
            if ok:
                sent += 1
                if state is CLOSED:
                    failures = 0
                elif probe:
                    state, failures, closed_at, released = CLOSED, 0, now, 0
                    heappush(heap, (now, serial, RESUME, "", 0, False, False))
                continue
            if state is CLOSED:
                failures += 1
            if probe or (state is CLOSED and failures >= threshold):
                state, reopens_at = OPEN, now + load.open_for
                heappush(heap, (reopens_at, serial, PROBE, "", 0, False, False))
            if attempts == max_attempts:
                dead += 1
            else:
                heappush(heap, (now + delays[attempts - 1], serial, RETRY, notification_id, attempts, False, False))
            continue
        if kind == ARRIVE:
            number += 1
            if number < count:
                heappush(heap, (now + gap(), serial, ARRIVE, "", 0, False, False))
            notification_id = f"push-{number}"
            if notification_id in seen:
                continue
            seen.add(notification_id)
            user = draw_user()
            log = logs.get(user)
            if log is None:
                log = logs[user] = deque()
            while log and log[0] <= now - WINDOW:
                log.popleft()
            assert len(log) < limit, "the limit was to be out of reach"
            log.append(now)
        elif kind == RESUME:
            if state is not CLOSED or not waiting:
                continue
            notification_id, attempts = waiting.popleft()
            released += 1
            if waiting:
                elapsed = load.resume_doubling * math.log2(1.0 + released * math.log(2.0) / per_doubling)
                heappush(heap, (max(now, closed_at + elapsed), serial, RESUME, "", 0, False, False))
        elif kind == PROBE:
            if not waiting:
                continue
            notification_id, attempts = waiting.popleft()
        probe = False
        if kind <= RETRY:
            if (state is not CLOSED or waiting) and (state is not OPEN or waiting or now < reopens_at):
                waiting.append((notification_id, attempts))
                continue
            probe = state is OPEN
        if probe or kind == PROBE:
            state, probe = HALF_OPEN, True
        attempted += 1
        latency, fate = draw_latency(), draw_fate()
        if latency > attempt_timeout:
            latency, ok = attempt_timeout, False
        elif outages and any(begin <= now < end for begin, end in outages):
            ok = False
        else:
            ok = fate >= failure_rate
        heappush(heap, (now + latency, serial, END, notification_id, attempts + 1, ok, probe))
    return sent, dead, attempted
