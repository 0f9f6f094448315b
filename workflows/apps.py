from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.utils.module_loading import autodiscover_modules

from workflows.tenancy import with_scope


class WorkflowsConfig(AppConfig):
    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from workflows.actions import scrubbed_logs
        from workflows.api import schema  # noqa: F401  tells drf-spectacular how one signs in

        scrubbed_logs.install()
        autodiscover_modules("workflow_actions")
        connection_created.connect(_carry_scopes, dispatch_uid="workflows.tenancy")


def _carry_scopes(connection: Any, **_kwargs: Any) -> None:
    """Every statement of the application carries the tenant of its work; `owner` is for migrations only."""
    if connection.alias == "default" and with_scope not in connection.execute_wrappers:
        connection.execute_wrappers.append(with_scope)
