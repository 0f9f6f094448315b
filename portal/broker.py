"""Redis as Celery's broker, without the moment in which a message is nowhere.

kombu takes a message off its list with BRPOP, and writes it down as unacknowledged afterwards. A worker that is killed in
between, or while an answer to its BRPOP is on the way, loses the message: no visibility timeout brings it back. Here the
message is moved (BLMOVE) to the list `{queue}.taken`, which it leaves in the transaction that writes it down. What stays
there for `taken_seconds` belongs to a worker that has died, and goes back to its queue; each worker looks whenever it looks
for messages whose visibility timeout is over. Had the worker only hung, the message comes twice, which every task bears.

It holds for a worker that listens to one queue, as ours do; more than one are read kombu's way.
"""

import logging
from queue import Empty
from time import monotonic, time
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)

GATHER_SECONDS = 1.0

_GIVE_BACK = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""


class QoS(kombu_redis.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        """As kombu's, in one transaction with the end of `taken`."""
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
        self.channel.give_back_taken()


class Channel(kombu_redis.Channel):
    QoS = QoS
    taken_seconds = 5.0
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "taken_seconds")  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.taken: dict[str, tuple[str, bytes]] = {}  # by delivery tag: the list, and the item as it stands there
        self._polled = ""
        self._seen: dict[bytes, float] = {}
        self._gather_at = 0.0
        super().__init__(*args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = list(self.active_queues)
        if len(queues) != 1 or self.global_keyprefix:
            self._polled = ""
            super()._brpop_start(timeout)
            return
        self._polled = queues[0]
        self._gather()
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()  # type: ignore[assignment]
        wait = self.brpop_timeout if timeout is None else timeout
        self.client.connection.send_command("BLMOVE", self._polled, _taken(self._polled), "RIGHT", "LEFT", wait or 0)

    def _gather(self) -> None:
        """BLMOVE reads one list: what another producer has sent with a priority stands in others, and is put before ours."""
        if monotonic() < self._gather_at:
            return
        self._gather_at = monotonic() + GATHER_SECONDS
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
        message = loads(bytes_to_str(item))
        tag = message["properties"]["delivery_tag"]
        self.taken[tag] = (_taken(self._polled), item)
        self.connection._deliver(message, self._polled)
        if self.taken.pop(tag, None):  # of a consumer that acknowledges nothing
            with self.conn_or_acquire() as client:
                client.lrem(_taken(self._polled), 1, item)

    def give_back_taken(self) -> None:
        now = monotonic()
        seen: dict[bytes, float] = {}
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                for item in client.lrange(_taken(queue), 0, -1):
                    since = self._seen.get(item, now)
                    if now - since < self.taken_seconds:
                        seen[item] = since
                    elif client.eval(_GIVE_BACK, 2, _taken(queue), queue, item):
                        logger.warning("a message of %s is given back: the worker that took it has died", queue)
        self._seen = seen


def _taken(queue: str) -> str:
    return f"{queue}.taken"


class Transport(kombu_redis.Transport):
    Channel = Channel
