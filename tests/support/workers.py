"""Temporal worker and Celery worker of the portal in threads of the test process."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.conf import settings

from workflows.temporal.connection import connect_client
from workflows.temporal.worker import build_worker


@contextmanager
def running_temporal_worker() -> Iterator[None]:
    started, failure = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        client = await connect_client()
        with ThreadPoolExecutor(settings.TEMPORAL_ACTIVITY_THREADS) as executor:
            async with build_worker(client, executor, task_queue=settings.TEMPORAL_TASK_QUEUE):
                started.set()
                await stop.wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001  the waiting test raises it
            failure.append(error)
            started.set()
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="temporal-worker", daemon=True)
    thread.start()
    assert started.wait(60), "the Temporal worker did not start within 60 s"
    if failure:
        raise failure[0]
    yield
    if thread.is_alive():
        loop.call_soon_threadsafe(stop.set)
    thread.join(30)


@contextmanager
def running_celery_worker() -> Iterator[None]:
    from celery.contrib.testing.worker import start_worker

    from portal.celery import app

    with start_worker(
        app, pool="threads", concurrency=4, perform_ping_check=False, loglevel="INFO", shutdown_timeout=60
    ):
        yield
