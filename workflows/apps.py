from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.utils.module_loading import autodiscover_modules

from workflows.tenancy import with_scope


class WorkflowsConfig(AppConfig):
    """Django app with all tables, the engine and the Temporal worker."""

    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        """Install the log filter for secrets, register the actions, and connect the tenant scope."""
        from workflows.actions import scrubbed_logs
        from workflows.api import schema  # noqa: F401  registers the authentication scheme with drf-spectacular

        scrubbed_logs.install()
        autodiscover_modules("workflow_actions")
        connection_created.connect(_carry_scopes, dispatch_uid="workflows.tenancy")


def _carry_scopes(connection: Any, **_kwargs: Any) -> None:
    """Send the scope with every statement of the application. Only migrations use the connection `owner`."""
    if connection.alias == "default" and with_scope not in connection.execute_wrappers:
        connection.execute_wrappers.append(with_scope)
