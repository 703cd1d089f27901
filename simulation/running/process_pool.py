"""Processes that share the runs of something large."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

PRELOADED = ("simulation.running.executors", "simulation.running.runner", "simulation.engine.system")
"""The modules that runs import in the server of forks; none of them starts a thread or draws a random number."""


GARBAGE_MIN = 50_000
"""Python looks for cycles after so many net allocations: a run of 27,000 notifications takes 8% less than with the
default of 700."""


@contextmanager
def processes(workers: int, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Give a pool of processes for as long as the block lasts; `begin` is called in each at its start.

    When the block is left, tasks that have not begun are dropped, and running ones are waited for unless interrupted.
    The processes are not forked from this one: a service or a notebook may have threads, which a fork would not
    survive. A server of forks has none. It begins anew, imports :data:`PRELOADED`, and lives as long as this process:
    each worker then starts at once. Where there is no fork they are spawned."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, process_context(), begin_quietly, (begin, arguments))
    try:
        yield pool
    except KeyboardInterrupt:
        # Before the shutdown: that waits for the pool's thread, which then finds them gone. Were it not waited for, it
        # would be awoken at exit when it has closed its pipe already, with a traceback.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def process_context() -> Any:
    """Return how processes are started: see :func:`processes`."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Not the main module, which it would import else: a script may start threads. It changes nothing once it runs.
    context.set_forkserver_preload(list(PRELOADED))
    return context


def begin_quietly(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Leave interrupts, and words on how large a run is, to the parent, end with it, and begin."""
    logging.getLogger("simulation.scenario.run_size").disabled = True
    gc.set_threshold(GARBAGE_MIN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_the_parent() -> None:
    """End this process when its parent is gone: a killed parent cannot end its pool, which would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
