"""Broker transport: no message is lost when a worker dies (docs/reference/events.md#crashes-and-outages)."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Queue

from portal.devstack.servers import Servers
from tests.support.factories import eventually

DATABASE = "8"


@pytest.fixture
def client(servers: Servers) -> Iterator[Any]:
    with redis.Redis.from_url(servers.redis_url.rsplit("/", 1)[0] + "/" + DATABASE) as client:
        client.flushdb()
        yield client


class Worker:
    """Consumer of one queue. To the broker, it looks like a Celery worker."""

    def __init__(self, servers: Servers, name: str = "q", **consumer: Any) -> None:
        options = {"visibility_timeout": 1, "unacked_restore_throttle": 1, "taken_seconds": 0.2, "polling_interval": 10}
        self.url = servers.redis_url.rsplit("/", 1)[0] + "/" + DATABASE
        self.connection = Connection(self.url, transport_options=options)
        self.channel = self.connection.channel()
        self.got: list[Any] = []
        queue = Queue(name, routing_key=name)
        self.consumer = self.connection.Consumer([queue], channel=self.channel, callbacks=[self._take], **consumer)
        self.consumer.consume()

    def _take(self, body: Any, message: Any) -> None:
        self.got.append(body)
        if not self.consumer.no_ack:
            message.ack()

    def turn(self) -> list[Any]:
        self.channel.qos.restore_visible()
        with contextlib.suppress(OSError):
            self.connection.drain_events(timeout=0.1)
        return self.got

    def send(self, body: Any, **options: Any) -> None:
        with Connection(self.url) as plain:
            plain.Producer().publish(body, exchange="", routing_key="q", **options)


def left(client: Any) -> dict[str, int]:
    return {key: size for key in ("q", "q.taken") if (size := client.llen(key))} | {"unacked": client.hlen("unacked")}


def test_message_is_received_once(servers: Servers, client: Any) -> None:
    worker = Worker(servers)
    worker.send({"n": 1})
    eventually(lambda: worker.turn() == [{"n": 1}])
    assert left(client) == {"unacked": 0}


def test_message_that_a_dead_worker_never_read_goes_to_another_worker(servers: Servers, client: Any) -> None:
    dead = Worker(servers)
    assert dead.turn() == []  # it has requested a message and never reads again
    dead.send({"n": 1})
    eventually(lambda: client.llen("q.taken") == 1)
    assert left(client) == {"q.taken": 1, "unacked": 0}
    other = Worker(servers)
    eventually(lambda: other.turn() == [{"n": 1}])
    assert left(client) == {"unacked": 0}


def test_consumer_without_acknowledgements_leaves_nothing_behind(servers: Servers, client: Any) -> None:
    worker = Worker(servers, no_ack=True)
    worker.send({"n": 1})
    eventually(lambda: worker.turn() == [{"n": 1}])
    assert left(client) == {"unacked": 0}


def test_message_with_a_priority_is_received(servers: Servers, client: Any) -> None:
    worker = Worker(servers)
    for priority in (0, 3, 6, 9):
        worker.send({"n": priority}, priority=priority)
    eventually(lambda: sorted(body["n"] for body in worker.turn()) == [0, 3, 6, 9])
    assert left(client) == {"unacked": 0}


def envelope(**changes: Any) -> bytes:
    """Return a correct message of protocol 2 with changed fields. `None` removes a field."""
    properties = {
        "delivery_tag": "tag-1", "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"},
    }  # fmt: skip
    message = {"body": "e30=", "content-type": "application/json", "content-encoding": "utf-8", "headers": {}}
    properties |= changes.pop("properties", {})
    message |= {"properties": properties, **changes}
    return json.dumps(_without_nulls(message)).encode()


def _without_nulls(value: Any) -> Any:
    return {k: _without_nulls(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value


NOT_MESSAGES = [
    b"not json", b"\xff\xfe", b"[" * 100_000, b"null", b"5", b"[]", b'"text"', b"{}",
    envelope(properties={"delivery_tag": None}), envelope(properties={"delivery_tag": 7}),
    envelope(properties={"delivery_tag": ["a"]}), envelope(properties={"delivery_info": None}),
    envelope(properties={"delivery_info": {"exchange": "", "routing_key": 5}}),
    envelope(properties={"body_encoding": "nonsense"}), envelope(body=7), envelope(headers=[]),
]  # fmt: skip


@pytest.mark.parametrize("entry", NOT_MESSAGES, ids=range(len(NOT_MESSAGES)))
def test_entry_that_is_not_a_message_moves_to_the_dead_list(
    servers: Servers, client: Any, caplog: pytest.LogCaptureFixture, entry: bytes
) -> None:
    client.lpush("q", entry)
    worker = Worker(servers)
    worker.send({"n": 1})
    eventually(lambda: worker.turn() == [{"n": 1}])
    assert client.lrange("q.dead", 0, -1) == [entry]
    assert left(client) == {"unacked": 0}
    own = [record for record in caplog.records if record.thread == threading.get_ident()]
    (logged,) = [record for record in own if record.levelname == "ERROR"]
    assert f"An entry of {len(entry)} bytes in queue q is not a Celery message" in logged.getMessage()


def test_message_that_the_consumer_cannot_handle_moves_to_the_dead_list(servers: Servers, client: Any) -> None:
    """Celery raises such errors for a task message without an id, for example."""
    worker = Worker(servers)

    def handle(body: Any, message: Any) -> None:
        if "bad" in body:
            raise KeyError("id")
        worker._take(body, message)

    worker.consumer.callbacks = [handle]
    worker.send({"bad": 1})
    worker.send({"n": 1})
    eventually(lambda: worker.turn() == [{"n": 1}])
    assert client.llen("q.dead") == 1
    assert left(client) == {"unacked": 0}
    assert worker.channel.qos.can_consume()
