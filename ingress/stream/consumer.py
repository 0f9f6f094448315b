"""The Redis stream door: entries of a stream become stored events (docs/reference/events.md#entry-points).

The rule it keeps: an entry is acknowledged after its event is committed, or after it was written to the dead-letter
stream with the reason; never before, never otherwise. So the process may be killed between any two calls:

    read (the entry is pending, ours) -> store (commit) -> acknowledge
                                      -> cannot be an event -> dead-letter stream -> acknowledge

- Killed, or cut off from Redis, before the acknowledgement: the entry is delivered again, and its event id gives a
  duplicate of what was stored. An entry without an event id has one from its place in the stream, so that holds too.
- Who takes it: the same consumer name when it is back, at once; else any other consumer, when the entry has been idle
  for EVENT_STREAM_CLAIM_SECONDS. Every (re)connection begins with the entries that are ours and pending.
- The database is away: the entries in hand are tried again until it is back. That is nobody's fault, so it is no
  delivery, and no entry is given up for it.
- An exception that nobody foresaw: the entry stays pending and is delivered again, up to EVENT_STREAM_MAX_DELIVERIES
  times; then it goes to the dead-letter stream. The others of its batch are stored without it.
- Redis is away: reconnect. The group is gone (FLUSHALL): make it again, from the beginning of the stream.
- An entry that was trimmed while it was pending is lost to the portal: that is an error in the log, and a dead letter.

`stream_entry.py` reads an entry, `stream_store.py` stores entries, `stream_group.py` holds the calls to Redis.
"""

import json
import logging
import threading
import time
from dataclasses import dataclass

import redis
from django.db import Error, close_old_connections, connections
from django.utils import timezone

from ingress.intake.receive import Receipt
from ingress.stream.group import Entry, StreamGroup, is_group_gone
from ingress.stream.outage import Outage
from ingress.stream.store import Verdict, is_outage, stream_events_receive
from workflows.errors import PortalError

logger = logging.getLogger(__name__)

# How long a read waits for entries, and so how long a stop may take when there are none.
BLOCK_MS = 1000
FORGET_CONSUMER_MS = 3_600_000
TRIMMED = "trimmed before it was read to its end; where no event of it is stored, its sender must send it again"


@dataclass(frozen=True)
class StreamLimits:
    batch: int
    claim_seconds: float
    max_deliveries: int
    keep_seconds: float


@dataclass
class StreamCounts:
    """Of entries, since this process started. `failed` counts deliveries that will be repeated."""

    stored: int = 0
    repeats: int = 0
    dead: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.stored} stored, {self.repeats} repeats, {self.dead} dead letters, {self.failed} failed attempts"


class EventStream:
    """One consumer, on the thread that calls it, until `stop` is set."""

    def __init__(self, *, group: StreamGroup, limits: StreamLimits, stop: threading.Event) -> None:
        self._group = group
        self._limits = limits
        self._stop = stop
        self._redis = Outage("Redis", stop)
        self._database = Outage("the database", stop)
        self._names = group.names
        self._told = ""
        self.counts = StreamCounts()

    def consume_events(self, *, once: bool = False) -> StreamCounts:
        """Until told to stop (`once`: or until nothing is left to read); what is in hand is finished first."""
        logger.info("consumer %s reads %s as group %s", self._group.consumer, self._names.stream, self._names.group)
        while not self._stop.is_set():
            try:
                self._consume_events(once=once)
                break
            except redis.RedisError as error:
                if is_group_gone(error):
                    gone = "the group %s of %s is gone, and what was flushed with it; it is made again from id 0"
                    logger.error(gone, self._names.group, self._names.stream)
                else:
                    self._redis.wait(error)
        self._leave()
        logger.info("consumer %s stopped: %s", self._group.consumer, self.counts)
        return self.counts

    def _consume_events(self, *, once: bool) -> None:
        """One connection's life. Errors: redis.RedisError; what was ours is found again by the next."""
        if self._group.ensure():
            logger.info("made the group %s of %s", self._names.group, self._names.stream)
        self._take_pending(idle_ms=0, consumer=self._group.consumer)
        self._sweep()
        sweep_at = time.monotonic() + self._limits.claim_seconds
        while not self._stop.is_set():
            entries = self._group.read_new(count=self._limits.batch, block_ms=None if once else BLOCK_MS)
            self._redis.over()
            if entries:
                self._take_in(entries)
            elif once:
                return
            if time.monotonic() >= sweep_at:
                self._sweep()
                sweep_at = time.monotonic() + self._limits.claim_seconds

    def _sweep(self) -> None:
        """What others, or our own failed attempts, have left; then the housekeeping of the stream."""
        self._take_pending(idle_ms=int(self._limits.claim_seconds * 1000))
        self._group.forget_idle_consumers(idle_ms=FORGET_CONSUMER_MS)
        if self._limits.keep_seconds:
            self._group.trim(keep_ms=int(self._limits.keep_seconds * 1000))
        told = f"{self.counts}; {self._group.count_pending()} pending in the group"
        if told != self._told:
            logger.info("stream %s: %s", self._names.stream, told)
            self._told = told

    def _take_pending(self, *, idle_ms: int, consumer: str | None = None) -> None:
        after = ""
        while not self._stop.is_set():
            page = self._group.take_pending(count=self._limits.batch, idle_ms=idle_ms, after=after, consumer=consumer)
            if page is None:
                return
            for entry_id in page.trimmed:
                self._bury(Entry(entry_id, ()), "EVENT_ENTRY_TRIMMED", TRIMMED, level=logging.ERROR)
            self._take_in(page.entries)
            after = page.last_id

    def _take_in(self, entries: list[Entry]) -> None:
        verdicts = self._verdicts(entries) if entries else {}
        receipts = {name: verdict for name, verdict in verdicts.items() if isinstance(verdict, Receipt)}
        repeats = sum(receipt.is_duplicate for receipt in receipts.values())
        self.counts.repeats += repeats
        self.counts.stored += len(receipts) - repeats
        self._group.acknowledge(list(receipts))
        for entry in entries:
            verdict = verdicts.get(entry.id)
            if isinstance(verdict, Exception):
                self._refuse(entry, verdict)

    def _verdicts(self, entries: list[Entry]) -> dict[str, Verdict]:
        """Tried at least once, so that a stop finishes what is in hand; empty when stopped in an outage."""
        while True:
            close_old_connections()
            try:
                verdicts = stream_events_receive(stream=self._names.stream, entries=entries)
            except Error as error:
                if not is_outage(error):
                    raise
                # Also the connection that still answers: after a failover it may lead to a server that only reads.
                connections.close_all()
                self._database.wait(error)
            else:
                self._database.over()
                return verdicts
            if self._stop.is_set():
                return {}

    def _refuse(self, entry: Entry, error: Exception) -> None:
        if isinstance(error, PortalError) and error.status < 500:
            self._bury(entry, error.code, error.message, details=json.dumps(error.details) if error.details else "")
        elif entry.deliveries >= self._limits.max_deliveries:
            reason = f"failed at {entry.deliveries} deliveries; the last time with {type(error).__name__}: {error}"
            self._bury(entry, "EVENT_ENTRY_FAILED", reason, level=logging.ERROR)
        else:
            self.counts.failed += 1
            tried = f"delivery {entry.deliveries} of {self._limits.max_deliveries}"
            logger.warning("entry %s failed at %s; it stays pending, for the next", entry.id, tried)

    def _bury(self, entry: Entry, code: str, reason: str, *, details: str = "", level: int = logging.WARNING) -> None:
        about = {"code": code, "reason": reason[:2000], "failed_at": timezone.now().isoformat()}
        if details:
            about["details"] = details
        try:
            is_buried = self._group.bury(entry.id, entry.fields, about)
        except redis.ResponseError as error:
            if is_group_gone(error):
                raise
            # Out of memory, or something else under the name: that must not keep the other entries from the store.
            logger.error("entry %s stays pending: %s does not take it: %s", entry.id, self._names.dead, error)
            self.counts.failed += 1
            return
        if is_buried:
            self.counts.dead += 1
            logger.log(level, "entry %s is a dead letter in %s: %s %s", entry.id, self._names.dead, code, reason[:500])

    def _leave(self) -> None:
        try:
            if not self._group.leave():
                logger.info("entries of consumer %s are pending; it keeps its place", self._group.consumer)
        except redis.RedisError as error:
            logger.warning("consumer %s could not take its leave: %s", self._group.consumer, error)
