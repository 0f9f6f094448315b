"""The Celery application: `celery -A portal.celery worker|beat`.

Worker and beat refuse to start where a check fails: Celery runs Django's checks and drops what they say.
"""

import os
from typing import Any

import billiard.pool
from celery import Celery
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Reject
from celery.signals import beat_init, worker_init, worker_process_shutdown
from kombu.transport import TRANSPORT_ALIASES

# A warm shutdown with two tasks under way waits 30 s for messages that have come already; fewer looks end the wait.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

# Whoever reads `redis://` in this process gets messages that are moved, not popped (see there).
TRANSPORT_ALIASES.update(redis="portal.broker:Transport", rediss="portal.broker:Transport")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")


class KeepingTask(DjangoTask):
    """A task whose message survives a retry that could not be sent."""

    def retry(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().retry(*args, **kwargs)
        except Reject as rejected:
            # Celery would throw the message away here, with the database and the broker both in trouble.
            raise Reject(rejected.reason, requeue=True) from rejected


app = Celery("pointsman", task_cls=KeepingTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks(["ingress", "workflows"])


@worker_init.connect
def refuse_worker(sender: Any, **_: Any) -> None:
    if sender.app == app:
        from portal.checks import worker_problems

        _refuse("The Celery worker", worker_problems(sender))


@beat_init.connect
def refuse_beat(sender: Any, **_: Any) -> None:
    if sender.app == app:
        _refuse("Celery beat", [])


@worker_process_shutdown.connect
def finish_child(**_: Any) -> None:
    """A prefork child ends without `atexit`: its parent kills it as soon as it has said goodbye."""
    from workflows.dispatch_notification import flush_notifications

    flush_notifications()


def _refuse(program: str, own_problems: list[Any]) -> None:
    """Errors: SystemExit, which Celery's signals let through, with all that is wrong."""
    from django.core.checks import run_checks

    problems = [
        problem for problem in run_checks() + own_problems if problem.is_serious() and not problem.is_silenced()
    ]
    if problems:
        raise SystemExit("\n".join([f"{program} does not start:", *(str(problem) for problem in problems)]))
