"""Redis calls of the stream entry point: one consumer of one group (Redis 6.2 or newer). No Django, no database.

This module reads the raw responses of Redis (RESP 2). redis-py would turn an entry into a dict, and silently lose a
field that occurs twice.

Entries that a consumer left pending are found with XPENDING, read with XRANGE and claimed with XCLAIM. XAUTOCLAIM is
not used for these reasons:

- It does not return how often an entry was delivered.
- Before Redis 7 it does not return which entries were trimmed.
- In Redis 7 it removes a trimmed entry from the pending list at once. After a crash at that moment, the portal could
  not record the loss of the entry.

With XPENDING, XRANGE and XCLAIM, all Redis versions behave the same. A trimmed entry stays pending until its loss is
recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# The script checks for pending entries, because the removal of a consumer would lose its pending entries. Another
# process may use the same consumer name.
_LEAVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


@dataclass(frozen=True)
class StreamNames:
    stream: str
    group: str
    dead: str


@dataclass(frozen=True)
class Entry:
    """One delivery of a stream entry. `deliveries` includes this delivery."""

    id: str
    fields: tuple[tuple[bytes, bytes], ...]
    deliveries: int = 1


@dataclass(frozen=True)
class PendingPage:
    """One page of the entries that were delivered but not acknowledged.

    It has the entries that this call claimed, and the ids of entries that were already trimmed from the stream.
    """

    entries: list[Entry]
    trimmed: list[str]
    last_id: str


def stream_client(url: str) -> redis.Redis:
    """Return a Redis client that never repeats a call.

    If a response is lost, a repeated read would skip the entries in it.
    """
    client = redis.Redis.from_url(
        url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5, socket_connect_timeout=2
    )
    for command in ("XREADGROUP", "XRANGE", "XCLAIM"):
        client.set_response_callback(command, lambda response, **_: response)
    return client


class StreamGroup:
    """One consumer of the group.

    Errors: redis.RedisError from every method. If `is_group_missing` returns True for the error, `ensure` can create
    the group again.
    """

    def __init__(self, client: redis.Redis, names: StreamNames, consumer: str) -> None:
        self._client: Any = client
        self.names = names
        self.consumer = consumer

    def ensure(self) -> bool:
        """Create the stream and the group if they are missing. The group reads from the stream's beginning.

        Return True if the group was created.
        """
        try:
            self._client.xgroup_create(self.names.stream, self.names.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return False
        return True

    def read_new(self, *, count: int, block_ms: int | None) -> list[Entry]:
        """Read entries that no consumer has read yet.

        Wait up to `block_ms` for the first entry. If `block_ms` is None, do not wait.
        """
        streams = {self.names.stream: ">"}
        response = self._client.xreadgroup(self.names.group, self.consumer, streams, count=count, block=block_ms)
        return [_entry(raw) for _, raws in response or () for raw in raws]

    def claim_pending(
        self, *, count: int, idle_ms: int, after: str = "", consumer: str | None = None
    ) -> PendingPage | None:
        """Claim the next page of entries that were idle for `idle_ms`.

        The page begins after the id `after`. Return None if no page is left.
        """
        found = self._client.xpending_range(
            self.names.stream, self.names.group, f"({after}" if after else "-", "+", count, consumer, idle_ms
        )
        if not found:
            return None
        deliveries = {row["message_id"].decode(): row["times_delivered"] for row in found}
        with self._client.pipeline(transaction=False) as pipeline:
            for entry_id in deliveries:
                pipeline.xrange(self.names.stream, entry_id, entry_id)
            content = dict(zip(deliveries, pipeline.execute(), strict=True))
        present = [entry_id for entry_id, response in content.items() if response]
        # XCLAIM omits entries that another consumer claimed or that were trimmed since XPENDING. A later page has these
        # entries.
        claimed = self._xclaim(present, idle_ms) if present else []
        entries = [_entry(raw) for raw in claimed if raw is not None and raw[0] is not None]
        return PendingPage(
            entries=[Entry(entry.id, entry.fields, deliveries[entry.id] + 1) for entry in entries],
            trimmed=[entry_id for entry_id, response in content.items() if not response],
            last_id=next(reversed(deliveries)),
        )

    def _xclaim(self, ids: Sequence[str], idle_ms: int) -> list[Any]:
        return list(self._client.xclaim(self.names.stream, self.names.group, self.consumer, idle_ms, ids))

    def acknowledge(self, ids: Sequence[str]) -> None:
        if ids:
            self._client.xack(self.names.stream, self.names.group, *ids)

    def write_dead_letter(self, entry_id: str, fields: Sequence[tuple[bytes, bytes]], about: Mapping[str, str]) -> bool:
        """Write an entry to the dead-letter stream, then acknowledge it.

        Return False if another process has already done this.

        After a crash between the two calls, the entry is written a second time with the same `entry_id`. Nothing is
        lost.
        """
        if not self._client.xpending_range(self.names.stream, self.names.group, entry_id, entry_id, 1):
            return False
        words: list[bytes | str] = [word for pair in fields for word in pair]
        for name, text in {"entry_id": entry_id, **about}.items():
            words += [name, text.encode(errors="backslashreplace")]
        self._client.execute_command("XADD", self.names.dead, "*", *words)
        self.acknowledge([entry_id])
        return True

    def leave(self, consumer: str | None = None) -> bool:
        """Remove the consumer from the group, unless it has pending entries. Return True if it was removed."""
        return bool(
            self._client.eval(
                _LEAVE, 1, self.names.stream, self.names.group, self.consumer if consumer is None else consumer
            )
        )

    def forget_idle_consumers(self, *, idle_ms: int) -> None:
        """Remove consumers that have no pending entries and were idle for `idle_ms`.

        The processes of these consumers have probably ended.

        If such a process still runs, Redis creates its consumer again at the next read.
        """
        for row in self._client.xinfo_consumers(self.names.stream, self.names.group):
            if row["idle"] > idle_ms and not row["pending"]:
                self.leave(row["name"])

    def trim(self, *, keep_ms: int) -> int:
        """Remove entries older than `keep_ms` that every group has acknowledged. Return the number of entries."""
        seconds, _ = self._client.time()
        ids = [f"{max(0, seconds * 1000 - keep_ms)}-0"]
        for row in self._client.xinfo_groups(self.names.stream):
            # XINFO is called before XPENDING. An entry that is delivered between the two calls then has an id after
            # last-delivered-id.
            pending = self._client.xpending(self.names.stream, row["name"])
            ids.append((pending["min"] or row["last-delivered-id"]).decode())
        return int(self._client.xtrim(self.names.stream, minid=min(ids, key=_order), approximate=True))

    def count_pending(self) -> int:
        return int(self._client.xpending(self.names.stream, self.names.group)["pending"])


def is_group_missing(error: redis.RedisError) -> bool:
    """Return True if the group does not exist, for example after FLUSHALL or after the stream was deleted."""
    return str(error).startswith("NOGROUP")


def _entry(raw: Any) -> Entry:
    entry_id, words = raw
    return Entry(entry_id.decode(), tuple(zip(words[::2], words[1::2], strict=True)))


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
