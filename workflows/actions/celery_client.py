"""Client for the broker and the result backend of another Celery application.

- Every socket has a timeout. So a server that hangs causes an error.
- The client never sends a message a second time. Even if the broker did not confirm the message, it may have arrived.
- Messages and results are JSON, never pickle.
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
    """The broker or the result backend is down, does not respond, or refuses the connection."""


class Unreadable(Exception):
    """The entry in the result backend is not a Celery result in JSON."""


@dataclass(frozen=True)
class TaskResult:
    """Result of a task. `value` is the return value of the task, or Celery's description of its exception."""

    state: str
    value: Any = None

    @property
    def is_ready(self) -> bool:
        return self.state in states.READY_STATES

    @property
    def has_succeeded(self) -> bool:
        return bool(self.state == states.SUCCESS)

    @property
    def is_pending(self) -> bool:
        """Return True if there is no result. Then the task was not sent, has not ended, or its result has expired."""
        return bool(self.state == states.PENDING)


class CeleryClient:
    """Client for one call. It is not kept, because its connections belong to one thread and the settings can change."""

    def __init__(self) -> None:
        # The Celery app has no backend. Otherwise it would subscribe to the result of each task that it sends.
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

    def read_result(self, task_id: str) -> TaskResult:
        """Return the present result of a task.

        Errors: Unreachable, Unreadable.
        """
        try:
            stored = self._backend.get(self._backend.get_key_for_task(task_id))
        except (RedisError, OSError) as error:
            raise Unreachable(f"The result backend is unreachable: {error}.") from error
        if stored is None:
            return TaskResult(states.PENDING)
        try:
            # The function that reads results in the backend is not used. It would create an exception of any class that
            # the text names.
            meta = self._backend.decode(stored)
            return TaskResult(str(meta["status"]), meta.get("result"))
        except (KombuError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Connect to the broker and check that it responds.

        Errors: Unreachable. Nothing was sent.
        """
        with self._app.connection_for_write(settings.CELERY_CALL_BROKER_URL) as connection:
            with _broker_errors(connection):
                connection.channel().close()
            yield connection

    def send(
        self, connection: Connection, task: str, args: list[Any], kwargs: dict[str, Any], *, task_id: str, queue: str
    ) -> None:
        """Send the message of a task.

        Errors: Unreachable. The broker may have accepted the message.
        """
        with _broker_errors(connection):
            self._app.send_task(
                task,
                args=args,
                kwargs=kwargs,
                task_id=task_id,
                queue=queue,
                declare=[],  # only the other application knows the arguments of its queue
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
        raise Unreachable(f"The broker is unreachable: {error}.") from error
