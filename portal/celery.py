"""Celery application: `celery -A portal.celery worker|beat`.

Worker and beat do not start if a system check fails. This module stops them, because Celery runs Django's checks but
ignores the result.
"""

import os
from typing import Any

import billiard.pool
from celery import Celery
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Reject
from celery.signals import (
    beat_init,
    before_task_publish,
    heartbeat_sent,
    task_success,
    worker_init,
    worker_process_shutdown,
)
from django.core.exceptions import ImproperlyConfigured
from kombu.serialization import register
from kombu.transport import TRANSPORT_ALIASES
from kombu.utils import json as kombu_json

from workflows.json_numbers import write_json
from workflows.strict_json import read_marked_json

# If two tasks are running, a warm shutdown would wait 30 s with billiard's default. It would wait for messages that
# have already arrived.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

# All code in this process that opens `redis://` with kombu uses this transport.
TRANSPORT_ALIASES.update(redis="portal.broker:Transport", rediss="portal.broker:Transport")


def read_message(text: Any) -> Any:
    """Parse a message.

    If the portal cannot store a value, the value is marked. The task can then refuse the message and name the place of
    the value.

    An error here would lose the message, because Celery deletes a message that it cannot decode.
    """
    return kombu_json.loads(text, _loads=read_marked_json)


def write_message(value: Any, **options: Any) -> str:
    return str(kombu_json.dumps(value, _dumps=write_json, **options))


# This applies to all messages in JSON. Decimals keep the digits that their sender wrote, even in the message of a
# retry.
register("json", write_message, read_message, content_type="application/json", content_encoding="utf-8")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")


class KeepingTask(DjangoTask):
    """Task whose message returns to the queue if a retry cannot be sent."""

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().retry(*args, **kwargs)
        except Reject as rejected:
            # Celery would delete the message here. Database and broker are both unavailable at this point.
            raise Reject(rejected.reason, requeue=True) from rejected


app = Celery("pointsman", task_cls=KeepingTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks(["ingress", "workflows", "portal.sign_in"])


@worker_init.connect
def choose_login(sender: Any, **_: Any) -> None:
    """Use the database login of system work. The children of a prefork worker inherit the choice."""
    if sender.app == app:
        from workflows.tenancy import use_system_login

        try:
            use_system_login()
        except ImproperlyConfigured as error:
            raise SystemExit(f"The Celery worker does not start: {error}") from error


@worker_init.connect
def refuse_worker(sender: Any, **_: Any) -> None:
    if sender.app == app:
        from portal.checks import worker_problems

        _refuse("The Celery worker", worker_problems(sender))


@beat_init.connect
def refuse_beat(sender: Any, **_: Any) -> None:
    if sender.app == app:
        _refuse("Celery beat", [])


@heartbeat_sent.connect
def record_worker(sender: Any, **_: Any) -> None:
    if sender.eventer.app == app:
        from portal.celery_workers import worker_record

        worker_record(sender.eventer.hostname)


@task_success.connect
def record_sweep(sender: Any, **_: Any) -> None:
    if sender.app == app and sender.name == "ingress.sweep_events":
        from portal.celery_workers import sweep_record

        sweep_record()


@before_task_publish.connect
def stamp_message(headers: dict[str, Any] | None = None, **_: Any) -> None:
    from portal.celery_workers import message_stamp

    message_stamp(headers)


@worker_process_shutdown.connect
def finish_child(**_: Any) -> None:
    """Send the remaining queue notifications.

    A prefork child does not run `atexit` handlers, because its parent kills it before that.
    """
    from workflows.dispatch_notification import flush_notifications

    flush_notifications()


def _refuse(program: str, own_problems: list[Any]) -> None:
    """Stop the program if a check fails.

    Errors: SystemExit with all problems. Celery's signal handlers suppress other exceptions, but not SystemExit.
    """
    from django.core.checks import run_checks

    problems = [
        problem for problem in run_checks() + own_problems if problem.is_serious() and not problem.is_silenced()
    ]
    if problems:
        raise SystemExit("\n".join([f"{program} does not start, because checks failed:", *map(str, problems)]))
