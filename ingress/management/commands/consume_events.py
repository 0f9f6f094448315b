"""`manage.py consume_events`: takes the entries of the event stream in, until told to stop."""

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
    help = "Store the entries of the Redis stream EVENT_STREAM as events (SIGTERM or Ctrl-C: finish what is in hand)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--consumer",
            default=f"{socket.gethostname()}-{os.getpid()}",
            help="name in the group, of this process alone; one that a restart keeps finds its entries at once"
            " (default: host-pid, whose entries the others take after EVENT_STREAM_CLAIM_SECONDS)",
        )
        parser.add_argument("--once", action="store_true", help="take in what is there, then stop")

    def handle(self, *args: Any, consumer: str, once: bool, **options: Any) -> None:
        names = StreamNames(settings.EVENT_STREAM, settings.EVENT_STREAM_GROUP, settings.EVENT_STREAM_DEAD)
        limits = StreamLimits(
            batch=settings.EVENT_STREAM_BATCH,
            claim_seconds=settings.EVENT_STREAM_CLAIM_SECONDS,
            max_deliveries=settings.EVENT_STREAM_MAX_DELIVERIES,
            keep_seconds=settings.EVENT_STREAM_KEEP_SECONDS,
        )
        with told_to_stop() as stop, stream_client(settings.REDIS_URL) as client:
            EventStream(group=StreamGroup(client, names, consumer), limits=limits, stop=stop).consume_events(once=once)


@contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM or SIGINT; the handlers before are back afterwards."""
    stop = threading.Event()

    def told(*_: Any) -> None:
        # On another thread: this one may hold the event's lock at this very moment, and would wait for itself.
        _thread.start_new_thread(stop.set, ())

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
