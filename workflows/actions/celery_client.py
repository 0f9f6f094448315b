"""Another application's Celery, as `celery.call` needs it: its broker and its result backend, reached by name.

Every socket has a timeout, so that a server that hangs is an error and never a wait without an end. Nothing is sent
twice from here: a publish whose answer did not come may have arrived. Messages and results are JSON, never pickle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from celery import Celery, states
from celery.backends.redis import RedisBackend
from django.conf import settings
from kombu.connection import Connection
from kombu.exceptions import KombuError
from redis import RedisError

CONNECT_SECONDS = 2
ANSWER_SECONDS = 5


class Unreachable(Exception):
    """The broker or the result backend is down, hangs or refuses."""


class Unreadable(Exception):
    """What stands in the result backend is not what Celery writes as JSON."""


@dataclass(frozen=True)
class TaskResult:
    """`value` is the task's own where it succeeded, and Celery's description of an exception where it failed."""

    state: str
    value: Any = None

    @property
    def is_ready(self) -> bool:
        return self.state in states.READY_STATES

    @property
    def has_succeeded(self) -> bool:
        return bool(self.state == states.SUCCESS)

    @property
    def is_unheard_of(self) -> bool:
        """Not sent, or not taken by a worker yet, or over so long that its result has expired: Celery cannot tell."""
        return bool(self.state == states.PENDING)


class CeleryClient:
    """One for each call: connections belong to the thread that uses them, and settings may differ between calls."""

    def __init__(self) -> None:
        # Without a backend of its own: the application would subscribe to each task that it sends.
        self._app = Celery("pointsman-calls", backend="disabled", set_as_current=False, fixups=[])
        self._app.conf.update(
            accept_content=["json"],
            task_serializer="json",
            result_serializer="json",
            task_publish_retry=False,
            broker_connection_timeout=CONNECT_SECONDS,
            broker_transport_options=_transport_options(settings.CELERY_CALL_BROKER_URL),
            redis_socket_timeout=ANSWER_SECONDS,
            redis_socket_connect_timeout=CONNECT_SECONDS,
        )
        self._backend = RedisBackend(app=self._app, url=settings.CELERY_CALL_RESULT_BACKEND)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._backend.client.connection_pool.disconnect()
        self._app.close()

    def look(self, task_id: str) -> TaskResult:
        """Errors: Unreachable, Unreadable."""
        try:
            stored = self._backend.get(self._backend.get_key_for_task(task_id))
        except (RedisError, OSError) as error:
            raise Unreachable(f"the result backend does not answer: {error}") from error
        if stored is None:
            return TaskResult(states.PENDING)
        try:
            # Not the backend's own reading of a result, which makes an exception of whatever class the text names.
            meta = self._backend.decode(stored)
            return TaskResult(str(meta["status"]), meta.get("result"))
        except (KombuError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection to a broker that has answered. Errors: Unreachable, and then nothing was sent."""
        with self._app.connection_for_write(settings.CELERY_CALL_BROKER_URL) as connection:
            with _broker_errors(connection):
                connection.channel().close()
            yield connection

    def send(
        self, connection: Connection, task: str, args: list[Any], kwargs: dict[str, Any], *, task_id: str, queue: str
    ) -> None:
        """Errors: Unreachable, and then nobody knows whether the message was taken."""
        with _broker_errors(connection):
            self._app.send_task(
                task,
                args=args,
                kwargs=kwargs,
                task_id=task_id,
                queue=queue,
                declare=[],  # the queue is the other application's, made with arguments that only it knows
                connection=connection,
                confirm_timeout=ANSWER_SECONDS,
            )


def _transport_options(url: str) -> dict[str, Any]:
    if url.startswith("redis"):
        return {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": CONNECT_SECONDS}
    return {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS, "confirm_publish": True}


@contextmanager
def _broker_errors(connection: Connection) -> Iterator[None]:
    try:
        yield
    except (KombuError, RedisError, OSError, *connection.connection_errors, *connection.channel_errors) as error:
        raise Unreachable(f"the broker does not answer: {error}") from error
