"""The bell: telling the workers that a tenant or a bulk job has work, without anybody waiting for the broker.

Work (events to route, deliveries to make, items of a job) stands in PostgreSQL. A message of the broker is only a doorbell,
"look at this tenant", so it may be lost, come twice, or stand for a thousand rings; the sweep is the recovery, not the broker.

`ring` puts the tenant into a set of this process and returns. One daemon thread takes from the set: it makes the key
`pointsman:bell:{queue}:{tenant}` in Redis if it is not there and, only when it made it, sends one message. The worker
deletes the key (`notification_received`) before it looks for work. `notify_bulk_dispatcher` does the same for a bulk job.

Why no work is left behind: it is committed before `ring`. Where the thread finds the key, the worker of the message that the
key stands for has not deleted it yet, so it looks after our commit and sees our work. Where it does not, we send a message of
our own. The thread takes a tenant out of the set before it looks at the key, so a ring that comes meanwhile is a new one.

Faults: a broker that does not answer opens a circuit breaker: for 1, 2, 4 ... 30 s nothing is tried and the tenants stay in
the set. A message that was lost after its key was made (the process was killed between, or Redis forgot its list) hides the
rings of its tenant until the key expires, 10 s. Deleting another's key by mistake costs one more message, nothing else.
"""

import atexit
import heapq
import logging
import os
import threading
import time
import uuid
from typing import Any, NamedTuple

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from workflows.backoff import backoff_seconds

logger = logging.getLogger(__name__)

WORK_EVENTS = "ingress.work_events"
WORK_BULK = "workflows.work_bulk"

KEY_SECONDS = 10
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
MOST_WAITING = 10_000
CONNECT_SECONDS, ANSWER_SECONDS = 0.5, 1.0
EXIT_SECONDS = 1.0
FAULTS = (OperationalError, RedisError, OSError)


class Target(NamedTuple):
    """Who has work (the id of a tenant, or of a bulk job), the task that looks at it, and the queue of its message."""

    queue: str
    task: str
    id: str

    @property
    def key(self) -> str:
        return f"pointsman:bell:{self.queue}:{self.id}"


def notify_dispatcher(tenant_id: uuid.UUID | str, *, after: float = 0) -> None:
    """Have the workers look at this tenant, now or after so many seconds. Never waits for the broker, never fails for it."""
    _notifier.add(_target(tenant_id), time.monotonic() + after)


def notify_bulk_dispatcher(job_id: uuid.UUID | str, *, after: float = 0) -> None:
    """As `ring`, for a bulk job."""
    _notifier.add(_target(job_id, WORK_BULK), time.monotonic() + after)


def notify_dispatcher_on_commit(tenant_id: uuid.UUID | str) -> None:
    transaction.on_commit(lambda: notify_dispatcher(tenant_id))


def notification_received(subject_id: uuid.UUID | str) -> None:
    """The worker is about to look: rings from now on need a message of their own. To be called before the look."""
    key = _target(subject_id).key
    try:
        _notifier.line.redis().delete(key)
    except (RedisError, OSError) as error:
        # Until it expires, these rings are taken for answered; the sweep finds their work.
        logger.warning("%s was not deleted: %s; it expires", key, error)


def flush_notifications() -> None:
    """Before the process ends: a moment for what is in the set. What is left then, the sweep finds."""
    _notifier.wait_until_idle(EXIT_SECONDS)


def notifications_are_sent() -> bool:
    """For tests: all rings of this process have been handed over."""
    return _notifier.is_idle()


def _target(subject_id: uuid.UUID | str, task: str = WORK_EVENTS) -> Target:
    return Target(settings.CELERY_TASK_DEFAULT_QUEUE, task, str(subject_id))


class _Line:
    """This process's connections to Redis: one client for the keys, one of Celery's for messages.

    The messages do not go through the pool of the Celery app: a process that was forked after a ring would share its
    sockets with its parent.
    """

    def __init__(self) -> None:
        self._client: tuple[str, redis.Redis] | None = None
        self._broker: tuple[str, Any] | None = None

    def redis(self) -> redis.Redis:
        """Thread-safe. One attempt per call: a client may try ten times by default, with pauses."""
        url = settings.REDIS_URL
        if self._client is None or self._client[0] != url:
            client = redis.Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            self._client = (url, client)
        return self._client[1]

    def send(self, target: Target) -> None:
        """One message, unless one is under way. Only for the bell's thread.

        Errors: those of FAULTS when the broker did not take it; then there is no key either.
        """
        if not self.redis().set(target.key, "1", nx=True, ex=KEY_SECONDS):
            return
        try:
            current_app.send_task(
                target.task,
                args=(target.id,),
                queue=target.queue,
                connection=self._connection(),
                ignore_result=True,
                retry=False,
                add_to_parent=False,
            )
        except BaseException:
            self._take_back(target.key)
            raise

    def _connection(self) -> Any:
        url = settings.REDIS_URL
        if self._broker is None or self._broker[0] != url:
            # max_retries: connecting again is the breaker's affair, not kombu's, which would sleep between.
            options = {
                "socket_connect_timeout": CONNECT_SECONDS,
                "socket_timeout": ANSWER_SECONDS,
                "max_retries": 0,
            }
            self._broker = (url, current_app.connection_for_write(url, transport_options=options))
        return self._broker[1]

    def _take_back(self, key: str) -> None:
        broker, self._broker = self._broker, None
        try:
            if broker is not None:
                broker[1].release()
            self.redis().delete(key)
        except FAULTS as error:
            logger.info("%s was not deleted after its message failed: %s; it expires", key, error)


class _Notifier:
    """The set, the thread that empties it, and the breaker. One for each process."""

    def __init__(self) -> None:
        self.line = _Line()
        self._changed = threading.Condition()
        self._waiting: dict[Target, None] = {}  # a set that keeps its order
        self._later: list[tuple[float, Target]] = []  # a heap, by the time at which each is to be rung
        self._in_hand: Target | None = None
        self._thread: threading.Thread | None = None
        self._is_full = False
        self._failures = 0
        self._open_until = 0.0

    def add(self, target: Target, at: float) -> None:
        with self._changed:
            if len(self._waiting) + len(self._later) >= MOST_WAITING and target not in self._waiting:
                if not self._is_full:
                    logger.warning("%d tenants wait for the broker; the sweep finds the others", MOST_WAITING)
                self._is_full = True
                return
            if at > time.monotonic():
                heapq.heappush(self._later, (at, target))
            else:
                self._waiting[target] = None
            self._changed.notify_all()
            if self._thread is None or not self._thread.is_alive():
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="dispatch-notification", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is about to end; the next ring tries again
            logger.warning("the bell has no thread: %s; the sweep finds the work", error)
        else:
            self._thread = thread

    def is_idle(self) -> bool:
        with self._changed:
            return self._has_nothing()

    def wait_until_idle(self, seconds: float) -> None:
        """At most so long; not at all while the broker is known not to answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_nothing() or self._pause() > 0, seconds)

    def _has_nothing(self) -> bool:
        self._take_over()
        return not self._waiting and self._in_hand is None

    def _take_over(self) -> float | None:
        """Whose time has come joins the set; how long it is until the next one's."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._waiting.setdefault(heapq.heappop(self._later)[1], None)
        return self._later[0][0] - now if self._later else None

    def _pause(self) -> float:
        return self._open_until - time.monotonic()

    def _run(self) -> None:
        while True:
            target = self._next()
            try:
                self.line.send(target)
            except FAULTS as error:
                self._failed(target, error)
            except Exception as error:  # a bug must not end the thread, and with it every bell of this process
                logger.exception("ringing failed at %s", target)
                self._failed(target, error)
            else:
                self._succeeded()

    def _next(self) -> Target:
        with self._changed:
            until_next = self._take_over()
            while not self._waiting or self._pause() > 0:
                self._changed.wait(self._pause() if self._waiting else until_next)
                until_next = self._take_over()
            self._in_hand = next(iter(self._waiting))
            del self._waiting[self._in_hand]
            return self._in_hand

    def _failed(self, target: Target, error: Exception) -> None:
        with self._changed:
            self._waiting.setdefault(target, None)
            self._failures += 1
            pause = backoff_seconds(self._failures, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
            self._open_until = time.monotonic() + pause
            self._in_hand = None
            self._changed.notify_all()
            if self._failures == 1:
                logger.warning("the broker takes no bells: %s; until it does, the sweep finds the work", error)

    def _succeeded(self) -> None:
        with self._changed:
            if self._failures:
                logger.warning("the broker takes bells again; %d tenants wait", len(self._waiting))
            self._failures = 0
            self._is_full = False
            self._in_hand = None
            self._changed.notify_all()


_notifier = _Notifier()


def _renew() -> None:
    """In the child of a fork there is no thread, and the sockets are the parent's; so are the rings that wait there."""
    global _notifier
    _notifier = _Notifier()


os.register_at_fork(after_in_child=_renew)
atexit.register(flush_notifications)
