from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        from portal import celery, checks  # noqa: F401  the app that tasks are sent through; the system checks


class PointsmanAdminConfig(AdminConfig):
    default_site = "portal.site.PointsmanAdminSite"
