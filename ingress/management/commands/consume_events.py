"""`manage.py consume_events`: store the entries of the event stream as events, until a signal stops the process."""

import _thread
import os
import signal
import socket
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from ingress.stream.consumer import EventStream, StreamLimits
from ingress.stream.group import StreamGroup, StreamNames, stream_client


class Command(BaseCommand):
    help = "Store the entries of the Redis stream EVENT_STREAM as events. SIGTERM or Ctrl-C: finish the batch and stop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--consumer",
            default=f"{socket.gethostname()}-{os.getpid()}",
            help="consumer name in the group, for this process only. After a restart, a process with the same name"
            " continues with its pending entries at once. Default: host-pid; this name changes with a restart, and"
            " other consumers claim the pending entries after EVENT_STREAM_CLAIM_SECONDS.",
        )
        parser.add_argument("--once", action="store_true", help="stop when no entry is left")

    def handle(self, *args: Any, consumer: str, once: bool, **options: Any) -> None:
        names = StreamNames(settings.EVENT_STREAM, settings.EVENT_STREAM_GROUP, settings.EVENT_STREAM_DEAD)
        limits = StreamLimits(
            batch=settings.EVENT_STREAM_BATCH,
            claim_seconds=settings.EVENT_STREAM_CLAIM_SECONDS,
            max_deliveries=settings.EVENT_STREAM_MAX_DELIVERIES,
            keep_seconds=settings.EVENT_STREAM_KEEP_SECONDS,
        )
        with stopped_by_signal() as stop, stream_client(settings.REDIS_URL) as client:
            EventStream(group=StreamGroup(client, names, consumer), limits=limits, stop=stop).consume_events(once=once)


@contextmanager
def stopped_by_signal() -> Iterator[threading.Event]:
    """Yield a `threading.Event` that SIGTERM or SIGINT sets. Restore the previous signal handlers afterwards."""
    stop = threading.Event()

    def handle_signal(*_: Any) -> None:
        # Set `stop` on another thread. The interrupted thread may hold the lock of `stop`, and would then deadlock.
        _thread.start_new_thread(stop.set, ())

    before = {number: signal.signal(number, handle_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
