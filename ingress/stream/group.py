"""Every call to Redis of the stream door: one consumer of one group (Redis 6.2 or newer). No Django, no database.

Answers are read raw (RESP 2), because redis-py's own reading makes a dict of an entry, in which a field that stands
there twice is silently lost.

Entries that a consumer left are found with XPENDING, looked up with XRANGE, and taken with XCLAIM, and not with
XAUTOCLAIM: that one tells neither how often an entry was delivered, nor (before Redis 7) which entry was trimmed, while
Redis 7 forgets a trimmed one in the act, so that a crash there would lose the last trace of it. This way is one for all
versions, and a trimmed entry stays pending until its loss has been written down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# Leaving with entries pending would forget them, and another process may just have read some under the same name.
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
    """`deliveries` counts this one too."""

    id: str
    fields: tuple[tuple[bytes, bytes], ...]
    deliveries: int = 1


@dataclass(frozen=True)
class Pending:
    """A page of entries that were delivered and not acknowledged: now ours, or no longer in the stream."""

    entries: list[Entry]
    trimmed: list[str]
    last_id: str


def stream_client(url: str) -> redis.Redis:
    """A call is made once: repeated by the client, a read whose answer was lost would leave its entries behind unseen."""
    client = redis.Redis.from_url(
        url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5, socket_connect_timeout=2
    )
    for command in ("XREADGROUP", "XRANGE", "XCLAIM"):
        client.set_response_callback(command, lambda answer, **_: answer)
    return client


class StreamGroup:
    """Errors: redis.RedisError out of every method; `is_group_gone` tells the one that `ensure` mends."""

    def __init__(self, client: redis.Redis, names: StreamNames, consumer: str) -> None:
        self._client: Any = client
        self.names = names
        self.consumer = consumer

    def ensure(self) -> bool:
        """Make stream and group where they are missing, from the stream's beginning. True: they were."""
        try:
            self._client.xgroup_create(self.names.stream, self.names.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            return False
        return True

    def read_new(self, *, count: int, block_ms: int | None) -> list[Entry]:
        """Entries that no consumer has had, waiting up to `block_ms` for the first (None: not at all)."""
        streams = {self.names.stream: ">"}
        answer = self._client.xreadgroup(self.names.group, self.consumer, streams, count=count, block=block_ms)
        return [_entry(raw) for _, raws in answer or () for raw in raws]

    def take_pending(self, *, count: int, idle_ms: int, after: str = "", consumer: str | None = None) -> Pending | None:
        """The next page behind the id `after` of what nobody has touched for `idle_ms`; None at the end."""
        found = self._client.xpending_range(
            self.names.stream, self.names.group, f"({after}" if after else "-", "+", count, consumer, idle_ms
        )
        if not found:
            return None
        deliveries = {row["message_id"].decode(): row["times_delivered"] for row in found}
        with self._client.pipeline(transaction=False) as pipeline:
            for entry_id in deliveries:
                pipeline.xrange(self.names.stream, entry_id, entry_id)
            is_there = dict(zip(deliveries, pipeline.execute(), strict=True))
        here = [entry_id for entry_id, answer in is_there.items() if answer]
        # What another consumer took meanwhile does not come back, nor what was trimmed meanwhile: a later page has it.
        claimed = self._xclaim(here, idle_ms) if here else []
        entries = [_entry(raw) for raw in claimed if raw is not None and raw[0] is not None]
        return Pending(
            entries=[Entry(entry.id, entry.fields, deliveries[entry.id] + 1) for entry in entries],
            trimmed=[entry_id for entry_id, answer in is_there.items() if not answer],
            last_id=next(reversed(deliveries)),
        )

    def _xclaim(self, ids: Sequence[str], idle_ms: int) -> list[Any]:
        return list(self._client.xclaim(self.names.stream, self.names.group, self.consumer, idle_ms, ids))

    def acknowledge(self, ids: Sequence[str]) -> None:
        if ids:
            self._client.xack(self.names.stream, self.names.group, *ids)

    def bury(self, entry_id: str, fields: Sequence[tuple[bytes, bytes]], about: Mapping[str, str]) -> bool:
        """Write an entry to the dead-letter stream, then acknowledge it. False: somebody else has done so.

        In this order: a crash between the two writes it down twice, with the same `entry_id`, and loses nothing.
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
        """Take the consumer off the group, unless it has entries pending."""
        return bool(
            self._client.eval(
                _LEAVE, 1, self.names.stream, self.names.group, self.consumer if consumer is None else consumer
            )
        )

    def forget_idle_consumers(self, *, idle_ms: int) -> None:
        """Names of processes that are gone would gather for ever. One that is back is made again by its next read."""
        for row in self._client.xinfo_consumers(self.names.stream, self.names.group):
            if row["idle"] > idle_ms and not row["pending"]:
                self.leave(row["name"])

    def trim(self, *, keep_ms: int) -> int:
        """Remove what is older than `keep_ms` and acknowledged in every group of the stream; how many entries."""
        seconds, _ = self._client.time()
        ids = [f"{max(0, seconds * 1000 - keep_ms)}-0"]
        for row in self._client.xinfo_groups(self.names.stream):
            # The group's place first, then what is pending: what is delivered in between lies behind that place.
            pending = self._client.xpending(self.names.stream, row["name"])
            ids.append((pending["min"] or row["last-delivered-id"]).decode())
        return int(self._client.xtrim(self.names.stream, minid=min(ids, key=_order), approximate=True))

    def count_pending(self) -> int:
        return int(self._client.xpending(self.names.stream, self.names.group)["pending"])


def is_group_gone(error: redis.RedisError) -> bool:
    """After FLUSHALL, or when somebody has deleted the stream."""
    return str(error).startswith("NOGROUP")


def _entry(raw: Any) -> Entry:
    entry_id, words = raw
    return Entry(entry_id.decode(), tuple(zip(words[::2], words[1::2], strict=True)))


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
