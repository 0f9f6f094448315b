"""Redis stream entry point. It stores the entries of a stream as events.

This module follows one rule. An entry is acknowledged only after its event is committed, or after the entry is written
to the dead-letter stream with the reason. So the process may be killed between any two calls:

    read (the entry is pending) -> store (commit) -> acknowledge
                                -> cannot be an event -> dead-letter stream -> acknowledge

- The process is killed, or loses Redis, before the acknowledgement: Redis delivers the entry again. The entry has the
  same event id, so it is recorded as a duplicate of the stored event. If an entry has no event id, the consumer derives
  an id from the entry's place in the stream. This id is the same at every delivery.
- A consumer that connects first reads the pending entries of its own name. Another consumer claims such an entry only
  after the entry has been idle for EVENT_STREAM_CLAIM_SECONDS.
- The database is unavailable: the consumer tries to store the same entries again until the database is available. These
  tries do not count as deliveries, and no entry becomes a dead letter because of the outage.
- The tenant is over a limit: the entry stays pending. The consumer reads the entries of other tenants, and tries again
  after the time that the limit says. The entry does not become a dead letter because of the limit.
- Any other exception: the entry stays pending and is delivered again, up to EVENT_STREAM_MAX_DELIVERIES times. Then the
  entry is written to the dead-letter stream. The other entries of its batch are stored without it.
- Redis is unavailable: the consumer reconnects. If the group does not exist, for example after FLUSHALL, the consumer
  creates it again from the beginning of the stream.
- An entry was trimmed while it was pending: the portal cannot read it any more. The consumer logs an error and writes a
  dead letter.

Source: docs/reference/events.md#entry-points
"""

import json
import logging
import threading
import time
from dataclasses import dataclass

import redis
from django.db import Error, close_old_connections, connections
from django.utils import timezone

from ingress.intake.admission import TenantOverLimit
from ingress.intake.receive import Receipt
from ingress.stream.group import Entry, StreamGroup, is_group_missing
from ingress.stream.outage import Outage, is_database_outage
from ingress.stream.storing import EntryResult, stream_events_receive
from workflows.errors import PortalError

logger = logging.getLogger(__name__)

# Maximum time for which a read waits for entries. If the stream is empty, a stop can take this long.
BLOCK_MS = 1000
FORGET_CONSUMER_MS = 3_600_000
TRIMMED = (
    "Redis trimmed the entry before it was stored and acknowledged. "
    "If no event with its id is stored, the sender must send it again."
)


@dataclass(frozen=True)
class StreamLimits:
    batch: int
    claim_seconds: float
    max_deliveries: int
    keep_seconds: float


@dataclass
class StreamCounts:
    """Numbers of entries since this process started.

    `failed` counts deliveries that Redis will repeat. `over_limit` counts attempts that a limit of a tenant stopped.
    """

    stored: int = 0
    repeats: int = 0
    dead: int = 0
    failed: int = 0
    over_limit: int = 0

    def __str__(self) -> str:
        tried = f"{self.failed} failed attempts, {self.over_limit} attempts over a limit"
        return f"{self.stored} stored, {self.repeats} repeats, {self.dead} dead letters, {tried}"


class EventStream:
    """One consumer. It runs on the thread that calls it, until `stop` is set."""

    def __init__(self, *, group: StreamGroup, limits: StreamLimits, stop: threading.Event) -> None:
        self._group = group
        self._limits = limits
        self._stop = stop
        self._redis = Outage("Redis", stop)
        self._database = Outage("the database", stop)
        self._names = group.names
        self._logged_counts = ""
        self._over_limit_until = 0.0  # 0: no entry waits for a limit
        # Last entry that was tried again after a limit. None: no entry is due.
        self._retried_to: str | None = None
        self.counts = StreamCounts()

    def consume_events(self, *, once: bool = False) -> StreamCounts:
        """Store entries as events until `stop` is set. With `once`, stop when no entry is left.

        A stop first finishes the current batch.
        """
        logger.info("consumer %s reads %s as group %s", self._group.consumer, self._names.stream, self._names.group)
        while not self._stop.is_set():
            try:
                self._consume_connected(once=once)
                break
            except redis.RedisError as error:
                if is_group_missing(error):
                    logger.error(
                        "the group %s of stream %s does not exist; entries that were flushed with it are lost; "
                        "the group is created again from id 0",
                        self._names.group,
                        self._names.stream,
                    )
                else:
                    self._redis.wait(error)
        self._leave()
        logger.info("consumer %s stopped: %s", self._group.consumer, self.counts)
        return self.counts

    def _consume_connected(self, *, once: bool) -> None:
        """Consume entries over one connection. Errors: redis.RedisError.

        The next connection reads the pending entries.
        """
        if self._group.ensure():
            logger.info("created the group %s of stream %s", self._names.group, self._names.stream)
        self._receive_pending(idle_ms=0, consumer=self._group.consumer)
        self._sweep()
        sweep_at = time.monotonic() + self._limits.claim_seconds
        while not self._stop.is_set():
            is_busy = once or self._retried_to is not None
            entries = self._group.read_new(count=self._limits.batch, block_ms=None if is_busy else BLOCK_MS)
            self._redis.end()
            if entries:
                self._receive(entries)
            elif once:
                return
            self._retry_over_limit()
            if time.monotonic() >= sweep_at:
                self._sweep()
                sweep_at = time.monotonic() + self._limits.claim_seconds

    def _sweep(self) -> None:
        """Claim entries that other consumers or failed attempts of this consumer left.

        Then trim the stream and remove idle consumers.
        """
        self._receive_pending(idle_ms=int(self._limits.claim_seconds * 1000))
        self._group.forget_idle_consumers(idle_ms=FORGET_CONSUMER_MS)
        if self._limits.keep_seconds:
            self._group.trim(keep_ms=int(self._limits.keep_seconds * 1000))
        counts = f"{self.counts}; {self._group.count_pending()} pending in the group"
        if counts != self._logged_counts:
            logger.info("stream %s: %s", self._names.stream, counts)
            self._logged_counts = counts

    def _retry_over_limit(self) -> None:
        """Try the next page of the entries that wait for a limit, if it is time.

        New entries are read between two pages. So a tenant with many such entries does not delay the other tenants.
        """
        if self._retried_to is None and self._over_limit_until and time.monotonic() >= self._over_limit_until:
            self._over_limit_until, self._retried_to = 0.0, ""
        if self._retried_to is not None:
            self._retried_to = self._receive_page(self._retried_to, idle_ms=0, consumer=self._group.consumer)

    def _receive_pending(self, *, idle_ms: int, consumer: str | None = None) -> None:
        after: str | None = ""
        while after is not None and not self._stop.is_set():
            after = self._receive_page(after, idle_ms=idle_ms, consumer=consumer)

    def _receive_page(self, after: str, *, idle_ms: int, consumer: str | None) -> str | None:
        """Receive one page of pending entries after this id. Return its last id, or None if no page is left."""
        page = self._group.claim_pending(count=self._limits.batch, idle_ms=idle_ms, after=after, consumer=consumer)
        if page is None:
            return None
        for entry_id in page.trimmed:
            self._write_dead_letter(Entry(entry_id, ()), "EVENT_ENTRY_TRIMMED", TRIMMED, level=logging.ERROR)
        self._receive(page.entries)
        return page.last_id

    def _receive(self, entries: list[Entry]) -> None:
        """Store entries as events. Acknowledge the stored entries.

        The other entries become dead letters or stay pending.
        """
        results = self._store(entries) if entries else {}
        receipts = {entry_id: result for entry_id, result in results.items() if isinstance(result, Receipt)}
        repeats = sum(receipt.is_duplicate for receipt in receipts.values())
        self.counts.repeats += repeats
        self.counts.stored += len(receipts) - repeats
        self._group.acknowledge(list(receipts))
        for entry in entries:
            result = results.get(entry.id)
            if isinstance(result, Exception):
                self._entry_failed(entry, result)

    def _store(self, entries: list[Entry]) -> dict[str, EntryResult]:
        """Store entries, and retry while the database is unavailable. Return no results if `stop` is set meanwhile.

        At least one attempt is made after `stop`, so that a stop finishes the current batch.
        """
        while True:
            close_old_connections()
            try:
                results = stream_events_receive(stream=self._names.stream, entries=entries)
            except Error as error:
                if not is_database_outage(error):
                    raise
                # Connections that still work are closed too, because after a failover they may lead to a read-only
                # server.
                connections.close_all()
                self._database.wait(error)
            else:
                self._database.end()
                return results
            if self._stop.is_set():
                return {}

    def _entry_failed(self, entry: Entry, error: Exception) -> None:
        if isinstance(error, TenantOverLimit):
            until = time.monotonic() + error.retry_after
            self._over_limit_until = min(until, self._over_limit_until or until)
            self.counts.over_limit += 1
        elif isinstance(error, PortalError) and error.status < 500:
            self._write_dead_letter(
                entry, error.code, error.message, details=json.dumps(error.details) if error.details else ""
            )
        elif entry.deliveries >= self._limits.max_deliveries:
            reason = f"failed at {entry.deliveries} deliveries; the last error was {type(error).__name__}: {error}"
            self._write_dead_letter(entry, "EVENT_ENTRY_FAILED", reason, level=logging.ERROR)
        else:
            self.counts.failed += 1
            tried = f"delivery {entry.deliveries} of {self._limits.max_deliveries}"
            logger.warning("entry %s failed at %s; it stays pending and is delivered again", entry.id, tried)

    def _write_dead_letter(
        self, entry: Entry, code: str, reason: str, *, details: str = "", level: int = logging.WARNING
    ) -> None:
        """Write an entry to the dead-letter stream with the reason, and acknowledge the entry."""
        about = {"code": code, "reason": reason[:2000], "failed_at": timezone.now().isoformat()}
        if details:
            about["details"] = details
        try:
            is_written = self._group.write_dead_letter(entry.id, entry.fields, about)
        except redis.ResponseError as error:
            if is_group_missing(error):
                raise
            # Redis is out of memory, or the key of the dead-letter stream has another type. Other entries must still be
            # stored.
            logger.error("entry %s stays pending: %s refuses dead letters: %s", entry.id, self._names.dead, error)
            self.counts.failed += 1
            return
        if is_written:
            self.counts.dead += 1
            logger.log(level, "entry %s is a dead letter in %s: %s %s", entry.id, self._names.dead, code, reason[:500])

    def _leave(self) -> None:
        try:
            if not self._group.leave():
                logger.info("consumer %s has pending entries and stays in the group", self._group.consumer)
        except redis.RedisError as error:
            logger.warning("consumer %s could not leave the group: %s", self._group.consumer, error)
