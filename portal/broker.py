"""Redis transport for Celery. At every moment, every message that is not yet processed is stored in Redis.

kombu's own transport removes a message from its list with BRPOP. Only afterwards it records the message as
unacknowledged. If the worker is killed between these two calls, or while the response to BRPOP is on the network, the
message is lost. The visibility timeout does not help, because the message is not recorded.

This transport moves the message to the list `{queue}.taken` with BLMOVE. One transaction records the message as
unacknowledged and removes it from that list. If a message stays in the list for `taken_seconds`, its worker has
probably died, and another worker moves the message back to its queue. Each worker checks the list when it checks for
messages whose visibility timeout is over. If the first worker was only slow, the message arrives twice. This is
harmless, because every task may run twice.

If an entry of a queue is not a valid message, it would stop every worker that reads it. The transport moves such an
entry to the list `{queue}.dead`, which no worker reads, and logs an error. An operator deletes the entry, or repairs it
and pushes it to the queue again.

If Redis restarts while a message is unacknowledged, kombu uses a channel whose connection is already closed, and fails
with an AttributeError that ends the worker. This transport raises a connection error, which Celery expects: the worker
connects again. The message is still recorded in Redis and is delivered again after the visibility timeout.

The transport protects messages only if a worker reads one queue. All workers of the portal read one queue. A worker
that reads several queues still uses BRPOP.
Source: docs/decisions/0004-broker-transport.md
"""

import logging
from queue import Empty
from time import monotonic, time
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from redis.exceptions import ConnectionError as RedisConnectionError

logger = logging.getLogger(__name__)

PRIORITY_LISTS_SECONDS = 1.0

_RETURN_TO_QUEUE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""
# kombu and Celery raise these errors for a malformed message. Errors of the connection, the pool or the system have
# other types.
_SHAPE_ERRORS = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


class QoS(kombu_redis.QoS):
    """Records of unacknowledged messages."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """In one transaction, record the message as unacknowledged and remove it from the taken list."""
        taken = self.channel.taken.pop(delivery_tag, None)
        info = message.delivery_info
        with self.pipe_or_acquire() as pipe:
            if taken is not None:
                pipe.lrem(taken[0], 1, taken[1])
            pipe.zadd(self.unacked_index_key, {delivery_tag: time()})
            pipe.hset(
                self.unacked_key, delivery_tag, dumps([message._raw, info["exchange"], info["routing_key"]])
            ).execute()
        virtual.QoS.append(self, message, delivery_tag)

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        super().restore_visible(*args, **kwargs)
        self.channel.return_taken()


class Channel(kombu_redis.Channel):
    """Channel that moves messages to the taken list instead of removing them from Redis."""

    QoS = QoS
    taken_seconds = 5.0
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "taken_seconds")  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.taken: dict[str, tuple[str, bytes]] = {}  # delivery tag -> (list, item in the list)
        self._polled = ""
        self._seen: dict[bytes, float] = {}
        self._next_priority_check = 0.0
        super().__init__(*args, **kwargs)

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection.client is None:
            raise RedisConnectionError("the connection of this channel is closed")
        return super()._connparams(asynchronous=asynchronous)

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = list(self.active_queues)
        if len(queues) != 1 or self.global_keyprefix:
            self._polled = ""
            super()._brpop_start(timeout)
            return
        self._polled = queues[0]
        self._merge_priority_lists()
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()  # type: ignore[assignment]
        wait = self.brpop_timeout if timeout is None else timeout
        self.client.connection.send_command("BLMOVE", self._polled, _taken(self._polled), "RIGHT", "LEFT", wait or 0)

    def _merge_priority_lists(self) -> None:
        """Move messages with a priority to the front of the queue.

        kombu stores messages with a priority in separate lists, and BLMOVE reads only one list. Only other producers
        send such messages.
        """
        if monotonic() < self._next_priority_check:
            return
        self._next_priority_check = monotonic() + PRIORITY_LISTS_SECONDS
        others = {self._q_for_pri(self._polled, step) for step in self.priority_steps} - {self._polled}
        with self.conn_or_acquire() as client:
            for key in others:
                while client.lmove(key, self._polled, "RIGHT", "RIGHT") is not None:
                    pass

    def _brpop_read(self, **options: Any) -> Any:
        if not self._polled:
            return super()._brpop_read(**options)
        try:
            try:
                item = self.client.parse_response(self.client.connection, "BLMOVE", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not item:
                raise Empty
            self._deliver_taken(item)
            return True
        finally:
            self._in_poll = None  # type: ignore[assignment]
            self._flush_brpop_reauth()

    def _deliver_taken(self, item: bytes) -> None:
        try:
            message = loads(bytes_to_str(item))
        except (ValueError, RecursionError) as error:
            self._bury(item, f"it is not JSON: {error}")
            return
        problem = _message_problem(message)
        if problem:
            self._bury(item, problem)
            return
        tag = message["properties"]["delivery_tag"]
        self.taken[tag] = (_taken(self._polled), item)
        try:
            self.connection._deliver(message, self._polled)
        except _SHAPE_ERRORS as error:
            if isinstance(error, OSError):  # a connection error, even if it is also a _SHAPE_ERROR
                raise
            logger.warning("A message of queue %s cannot be handled.", self._polled, exc_info=True)
            self._bury(item, f"the worker cannot handle it: {type(error).__name__}", tag=tag)
            return
        if self.taken.pop(tag, None):  # true if the consumer acknowledges no messages
            with self.conn_or_acquire() as client:
                client.lrem(_taken(self._polled), 1, item)

    def _bury(self, item: bytes, reason: str, *, tag: str | None = None) -> None:
        """Move an entry to the dead list, in one transaction.

        The log shows only the entry's size, and no part of the entry.
        """
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(dead_list(self._polled), item)
            pipe.lrem(_taken(self._polled), 1, item)
            if tag is not None:
                pipe.zrem(self.unacked_index_key, tag)
                pipe.hdel(self.unacked_key, tag)
            pipe.execute()
        if tag is not None:
            self.taken.pop(tag, None)
            virtual.QoS.ack(self.qos, tag)
        logger.error(
            "An entry of %d bytes in queue %s is not a Celery message: %s. It was moved to the list %s. Delete it,"
            " or correct it and push it to the queue again.",
            len(item),
            self._polled,
            reason,
            dead_list(self._polled),
        )

    def return_taken(self) -> None:
        """Move the messages of dead workers from the taken lists back to their queues."""
        now = monotonic()
        seen: dict[bytes, float] = {}
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                for item in client.lrange(_taken(queue), 0, -1):
                    since = self._seen.get(item, now)
                    if now - since < self.taken_seconds:
                        seen[item] = since
                    elif client.eval(_RETURN_TO_QUEUE, 2, _taken(queue), queue, item):
                        logger.warning(
                            "A message of queue %s was returned to the queue, because the worker that received it has"
                            " died.",
                            queue,
                        )
        self._seen = seen


def _taken(queue: str) -> str:
    return f"{queue}.taken"


def dead_list(queue: str) -> str:
    """Return the name of the Redis list of the entries that are not messages."""
    return f"{queue}.dead"


def _message_problem(message: Any) -> str | None:
    """Return the reason why kombu could not deliver or restore this JSON value as a message.

    Return None if it could.
    """
    if not isinstance(message, dict):
        return "it is not a JSON object"
    if not isinstance(message.get("headers", {}), dict):
        return "`headers` is not an object"
    if not isinstance(message.get("body"), str):
        return "`body` is not a text"
    properties = message.get("properties")
    if not isinstance(properties, dict):
        return "it has no `properties`"
    if not isinstance(properties.get("delivery_tag"), str) or not properties["delivery_tag"]:
        return "it has no `properties.delivery_tag`"
    info = properties.get("delivery_info")
    if not isinstance(info, dict):
        return "it has no `properties.delivery_info`"
    missing = [name for name in ("exchange", "routing_key") if not isinstance(info.get(name), str)]
    return f"it has no `properties.delivery_info.{missing[0]}`" if missing else None


class Transport(kombu_redis.Transport):
    """Transport for URLs with `redis://` and `rediss://`. It is registered in portal/celery.py."""

    Channel = Channel
