"""System checks with stable ids."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def celery_loses_nothing(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Settings under which a killed worker would lose a message."""
    problems: list[CheckMessage] = []
    if not (settings.CELERY_TASK_ACKS_LATE and settings.CELERY_TASK_REJECT_ON_WORKER_LOST):
        problems.append(
            Error(
                "Celery would lose the task of a killed worker: acks_late and reject_on_worker_lost must be on",
                id="portal.E001",
            )
        )
    if settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] <= settings.CELERY_TASK_TIME_LIMIT:
        problems.append(
            Error(
                "the broker's visibility timeout must be above the longest task, else tasks run twice", id="portal.E002"
            )
        )
    return problems


@register()
def pool_is_not_for_prefork(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.DATABASES["default"].get("CONN_MAX_AGE") and "pool" in settings.DATABASES["default"].get("OPTIONS", {}):
        return [Error("CONN_MAX_AGE must be 0 with a pool", id="portal.E003")]
    return []
