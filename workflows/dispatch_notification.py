"""Queue notifications: Celery messages that name a tenant or a bulk job with due work. No caller waits for the broker.

The work (events to route, deliveries to attempt, items of a job) is stored in PostgreSQL. A notification carries no
work. It may be lost or arrive twice, and one notification may replace a thousand others. If a notification is lost, the
sweep finds the work. The broker need not recover it.

How a notification is sent:

1. `notify_dispatcher` adds the tenant to a set of this process and returns. `notify_bulk_dispatcher` adds a bulk job.
2. One daemon thread takes a tenant from the set and creates the Redis key `pointsman:bell:{queue}:{tenant}`.
3. If the key did not exist before, the thread sends one Celery message. Otherwise it sends nothing.
4. The worker deletes the key (`notification_received`) before it searches for work.

Why no work is left behind: the work is committed before `notify_dispatcher` is called.

- If the thread finds the key, the worker of the earlier message has not deleted the key yet. This worker searches after
  our commit and finds our work.
- If the thread does not find the key, it sends a message.
- The thread removes the tenant from the set before it tests the key. A later call adds the tenant again.

Errors:

- If the broker does not respond, a circuit breaker opens for 1, 2, 4 ... 30 s. During this time nothing is sent, and
  the set is kept.
- A message can be lost after its key was created, because the process is killed in between or Redis loses its list. The
  key then suppresses the notifications of this tenant until it expires, after 10 s.
- If a key is deleted by mistake, one more message is sent. There is no other effect.
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
WORK_COMPARISON = "workflows.work_comparison"

KEY_SECONDS = 10
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
MOST_WAITING = 10_000
CONNECT_SECONDS, RESPONSE_SECONDS = 0.5, 1.0
EXIT_SECONDS = 1.0
BROKER_ERRORS = (OperationalError, RedisError, OSError)


class Target(NamedTuple):
    """Receiver of a notification: the id of a tenant or of a bulk job, the Celery task, and the queue of this task."""

    queue: str
    task: str
    id: str

    @property
    def key(self) -> str:
        return f"pointsman:bell:{self.queue}:{self.id}"


def notify_dispatcher(tenant_id: uuid.UUID | str, *, after: float = 0) -> None:
    """Notify the dispatcher of a tenant, now or after this number of seconds. The call neither waits nor fails."""
    _notifier.add(_target(tenant_id), time.monotonic() + after)


def notify_bulk_dispatcher(job_id: uuid.UUID | str, *, after: float = 0) -> None:
    """Notify the worker of a bulk job, in the same way as `notify_dispatcher`."""
    _notifier.add(_target(job_id, WORK_BULK), time.monotonic() + after)


def notify_comparison(command_id: uuid.UUID | str) -> None:
    """Notify the worker of a comparison of all runs and schedules, in the same way as `notify_dispatcher`."""
    _notifier.add(_target(command_id, WORK_COMPARISON), time.monotonic())


def notify_dispatcher_on_commit(tenant_id: uuid.UUID | str) -> None:
    """Notify the dispatcher after the commit of the current transaction, or at once without a transaction."""
    transaction.on_commit(lambda: notify_dispatcher(tenant_id))


def notification_received(subject_id: uuid.UUID | str) -> None:
    """Delete the key of a notification. Call this function before the search for work.

    A later notification is sent as a new message only if the key is deleted.
    """
    key = _target(subject_id).key
    try:
        _notifier.line.redis().delete(key)
    except (RedisError, OSError) as error:
        # Until the key expires, new notifications are not sent. The sweep finds the work that they would announce.
        logger.warning("%s was not deleted: %s; it expires", key, error)


def flush_notifications() -> None:
    """Wait a moment for unsent notifications before the process ends.

    If some stay unsent, the sweep finds their work.
    """
    _notifier.wait_until_idle(EXIT_SECONDS)


def notifications_are_sent() -> bool:
    """Return True if this process has no unsent notification. For tests."""
    return _notifier.is_idle()


def _target(subject_id: uuid.UUID | str, task: str = WORK_EVENTS) -> Target:
    return Target(settings.CELERY_TASK_DEFAULT_QUEUE, task, str(subject_id))


class _Line:
    """Connections of this process to Redis: one client for the keys, and one connection of Celery for the messages.

    The messages do not use the connection pool of the Celery app. If a process were forked after a notification, it
    would share the sockets of this pool with its parent.
    """

    def __init__(self) -> None:
        self._client: tuple[str, redis.Redis] | None = None
        self._broker: tuple[str, Any] | None = None

    def redis(self) -> redis.Redis:
        """Return the client.

        It is thread-safe and makes one attempt per call. The client's default is ten, with pauses.
        """
        url = settings.REDIS_URL
        if self._client is None or self._client[0] != url:
            client = redis.Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=RESPONSE_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            self._client = (url, client)
        return self._client[1]

    def send(self, target: Target) -> None:
        """Send one message, unless the key shows that a message is already sent.

        Only the notifier's thread may call this method.
        Errors: BROKER_ERRORS if the broker did not accept the message. The key is then deleted.
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
            self._delete_key(target.key)
            raise

    def _connection(self) -> Any:
        url = settings.REDIS_URL
        if self._broker is None or self._broker[0] != url:
            # max_retries 0, because the circuit breaker decides when to reconnect. kombu would sleep between its
            # retries.
            options = {
                "socket_connect_timeout": CONNECT_SECONDS,
                "socket_timeout": RESPONSE_SECONDS,
                "max_retries": 0,
            }
            self._broker = (url, current_app.connection_for_write(url, transport_options=options))
        return self._broker[1]

    def _delete_key(self, key: str) -> None:
        broker, self._broker = self._broker, None
        try:
            if broker is not None:
                broker[1].release()
            self.redis().delete(key)
        except BROKER_ERRORS as error:
            logger.info("%s was not deleted after its message failed: %s; it expires", key, error)


class _Notifier:
    """The set of targets, the thread that sends their notifications, and the circuit breaker.

    Each process has one notifier.
    """

    def __init__(self) -> None:
        self.line = _Line()
        self._changed = threading.Condition()
        self._waiting: dict[Target, None] = {}  # an ordered set
        self._later: list[tuple[float, Target]] = []  # a heap, ordered by the time of the notification
        self._sending: Target | None = None
        self._thread: threading.Thread | None = None
        self._is_full = False
        self._failures = 0
        self._open_until = 0.0

    def add(self, target: Target, at: float) -> None:
        with self._changed:
            if len(self._waiting) + len(self._later) >= MOST_WAITING and target not in self._waiting:
                if not self._is_full:
                    logger.warning(
                        "%d notifications wait for the broker; no more are kept, and the sweep finds the work",
                        MOST_WAITING,
                    )
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
        except (
            RuntimeError
        ) as error:  # no more threads, or the interpreter is about to end; the next notification tries again
            logger.warning("no thread could be started for queue notifications: %s; the sweep finds the work", error)
        else:
            self._thread = thread

    def is_idle(self) -> bool:
        with self._changed:
            return self._has_nothing()

    def wait_until_idle(self, seconds: float) -> None:
        """Wait up to this number of seconds until the set is empty. Do not wait while the circuit breaker is open."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_nothing() or self._pause() > 0, seconds)

    def _has_nothing(self) -> bool:
        self._move_due()
        return not self._waiting and self._sending is None

    def _move_due(self) -> float | None:
        """Move the due targets from the heap to the set. Return the number of seconds until the next target is due."""
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
            except BROKER_ERRORS as error:
                self._failed(target, error)
            except Exception as error:  # a bug must not end the only thread that sends notifications
                logger.exception("the notification of %s failed", target)
                self._failed(target, error)
            else:
                self._succeeded()

    def _next(self) -> Target:
        with self._changed:
            until_next = self._move_due()
            while not self._waiting or self._pause() > 0:
                self._changed.wait(self._pause() if self._waiting else until_next)
                until_next = self._move_due()
            self._sending = next(iter(self._waiting))
            del self._waiting[self._sending]
            return self._sending

    def _failed(self, target: Target, error: Exception) -> None:
        with self._changed:
            self._waiting.setdefault(target, None)
            self._failures += 1
            pause = backoff_seconds(self._failures, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
            self._open_until = time.monotonic() + pause
            self._sending = None
            self._changed.notify_all()
            if self._failures == 1:
                logger.warning(
                    "the broker does not accept queue notifications: %s; the sweep finds the work until it does", error
                )

    def _succeeded(self) -> None:
        with self._changed:
            if self._failures:
                logger.warning("the broker accepts queue notifications again; %d are waiting", len(self._waiting))
            self._failures = 0
            self._is_full = False
            self._sending = None
            self._changed.notify_all()


_notifier = _Notifier()


def _renew() -> None:
    """Start with a new notifier in the child of a fork.

    The old thread, sockets and targets belong to the parent process.
    """
    global _notifier
    _notifier = _Notifier()


os.register_at_fork(after_in_child=_renew)
atexit.register(flush_notifications)
