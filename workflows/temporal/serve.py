"""The worker process. It waits until Temporal responds, runs the worker, and drains on SIGTERM or SIGINT."""

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from temporalio.client import Client

from workflows.temporal.connection import connect_client
from workflows.temporal.worker import build_worker

logger = logging.getLogger(__name__)
RECONNECT_SECONDS = 2


async def serve() -> None:
    """Run the worker until SIGTERM or SIGINT.

    After the signal, running activities have TEMPORAL_DRAIN_SECONDS to finish.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = await _connected(stop)
    if client is None:
        return
    with ThreadPoolExecutor(settings.TEMPORAL_ACTIVITY_THREADS, thread_name_prefix="activity") as executor:
        async with build_worker(client, executor, task_queue=settings.TEMPORAL_TASK_QUEUE):
            logger.info("worker polls task queue %s at %s", settings.TEMPORAL_TASK_QUEUE, settings.TEMPORAL_ADDRESS)
            await stop.wait()
            logger.info("worker drains for up to %g s", settings.TEMPORAL_DRAIN_SECONDS)
    logger.info("worker stopped")


async def _connected(stop: asyncio.Event) -> Client | None:
    """Return a client as soon as Temporal responds. Return None if the process must stop before a response."""
    while not stop.is_set():
        try:
            return await connect_client()
        except RuntimeError as error:
            logger.warning(
                "Temporal at %s does not respond; next try in %s s: %s",
                settings.TEMPORAL_ADDRESS, RECONNECT_SECONDS, str(error)[:200],
            )  # fmt: skip
        try:
            await asyncio.wait_for(stop.wait(), RECONNECT_SECONDS)
        except TimeoutError:
            continue
    return None
