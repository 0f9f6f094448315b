from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class WorkflowsConfig(AppConfig):
    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from workflows.actions import scrubbed_logs
        from workflows.api import schema  # noqa: F401  tells drf-spectacular how one signs in

        scrubbed_logs.install()
        autodiscover_modules("workflow_actions")
