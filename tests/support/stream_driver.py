"""Test driver for one Redis stream: writes entries, and runs consumers in this process or in other processes."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import redis

from ingress.stream.consumer import EventStream, StreamLimits
from ingress.stream.group import StreamGroup, StreamNames, stream_client
from portal.devstack.child import PROJECT
from tests.support import crashing_stream
from tests.support.factories import eventually
from tests.support.forked import ForkedProgram
from workflows.models import Event

# Only the stream tests use this Redis database, so they may flush it.
REDIS_DATABASE = "7"


class StreamDriver:
    def __init__(self, redis_url: str, name: str) -> None:
        self.url = redis_url.rsplit("/", 1)[0] + "/" + REDIS_DATABASE
        self.clients: list[redis.Redis] = []
        self.redis: Any = self._kept(redis.Redis.from_url(self.url))
        self.names = StreamNames(f"events-{name}", "portal", f"dead-{name}")
        self.processes: list[subprocess.Popen[bytes] | ForkedProgram] = []

    def add(self, tenant: Any, number: Any = 1, *, at: str = "*", **fields: Any) -> str:
        """Add an entry with a valid event and return the entry id. `fields` replace fields; None removes a field."""
        valid = {
            "event_id": f"e-{number}", "event_type": "REPLIED", "tenant": getattr(tenant, "slug", tenant),
            "payload_json": json.dumps({"n": number}), "workflow_correlation_key": f"K-{number}",
        }  # fmt: skip
        values = {name: value for name, value in {**valid, **fields}.items() if value is not None}
        return str(self.redis.xadd(self.names.stream, values, id=at).decode())

    def consumer(self, name: str = "one", *, stop: threading.Event | None = None, **limits: Any) -> EventStream:
        chosen = {"batch": 10, "claim_seconds": 60, "max_deliveries": 3, "keep_seconds": 0, **limits}
        return EventStream(group=self.group(name), limits=StreamLimits(**chosen), stop=stop or threading.Event())

    def group(self, name: str = "one") -> StreamGroup:
        return StreamGroup(self._kept(stream_client(self.url)), self.names, name)

    def _kept(self, client: redis.Redis) -> redis.Redis:
        """Return the client. `close` closes it, because a socket that is left open is an error in a later test."""
        self.clients.append(client)
        return client

    def read_as(self, consumer: str, count: int = 10) -> list[str]:
        """Read entries and do not acknowledge them, as a consumer that dies after the read. Return the entry ids."""
        self.group(consumer).ensure()
        return [entry.id for entry in self.group(consumer).read_new(count=count, block_ms=None)]

    def dead_letters(self) -> list[dict[str, str]]:
        entries = self.redis.xrange(self.names.dead)
        return [{k.decode(): v.decode(errors="replace") for k, v in fields.items()} for _, fields in entries]

    def pending(self) -> dict[str, int]:
        """Return the number of deliveries of each entry that is not acknowledged, by entry id."""
        rows = self.redis.xpending_range(self.names.stream, self.names.group, "-", "+", 1000)
        return {row["message_id"].decode(): row["times_delivered"] for row in rows}

    def consumers(self) -> set[str]:
        return {row["name"].decode() for row in self.redis.xinfo_consumers(self.names.stream, self.names.group)}

    def is_consumed(self) -> bool:
        """Return True if every entry was delivered and acknowledged."""
        if not self.redis.exists(self.names.stream):
            return True
        (group,) = self.redis.xinfo_groups(self.names.stream) or ({"last-delivered-id": b"0-0", "pending": 1},)
        last = self.redis.xinfo_stream(self.names.stream)["last-generated-id"]
        return group["last-delivered-id"] == last and not group["pending"]

    def start(self, log: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start `manage.py consume_events` in a process."""
        env = {
            **os.environ, "REDIS_URL": self.url, "CELERY_QUEUE": "no-worker", "EVENT_STREAM": self.names.stream,
            "EVENT_STREAM_GROUP": self.names.group, "EVENT_STREAM_DEAD": self.names.dead, "PYTHONUNBUFFERED": "1",
            **environment,
        }  # fmt: skip
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "consume_events", *arguments],
                cwd=PROJECT,
                env=env,
                stdout=output,
                stderr=output,
            )
        self.processes.append(process)
        return process

    def fork(self, log: Path, *arguments: str, dies: tuple[str, Path] = ("", Path()), **settings: Any) -> ForkedProgram:
        """Start the command in a forked process. `dies` has the crash point and the flag of `crashing_stream.py`."""
        process = ForkedProgram(
            crashing_stream.main, *dies, *arguments, log=log,
            REDIS_URL=self.url, CELERY_TASK_DEFAULT_QUEUE="no-worker", EVENT_STREAM=self.names.stream,
            EVENT_STREAM_GROUP=self.names.group, EVENT_STREAM_DEAD=self.names.dead, **settings,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(60)
        for client in self.clients:
            client.close()


def stored_event_ids(tenant: Any) -> list[str]:
    """Return the event ids of the tenant in the order of storage, without rejected events."""
    rows = Event.objects.filter(tenant=tenant, occupies_id=True).order_by("id")
    return list(rows.values_list("event_id", flat=True))


def wait_until_stored(tenant: Any, *event_ids: str) -> None:
    eventually(lambda: set(stored_event_ids(tenant)) == set(event_ids), what=f"the events {event_ids} are stored")
